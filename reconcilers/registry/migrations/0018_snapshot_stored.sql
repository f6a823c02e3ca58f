-- When a snapshot's dump went to its place in the store whole: from then on sha256 and size_bytes are its own, though it is not proven yet.
ALTER TABLE public.tenant_snapshots ADD COLUMN stored_at timestamptz;
