-- Two login slots a tenant (kinds login_a and login_b): which one the connection Secret names, and what a rotation has left to do.
-- NULL in state: the digest alone is known, as of the owner's password. A tenant whose login has no state yet is on slot a.

ALTER TABLE public.tenant_credentials
    -- current: the Secret names it. next: being made, not handed out yet. retiring: may still be used. retired: closed.
    ADD COLUMN state text CHECK (state IN ('current', 'next', 'retiring', 'retired')),
    -- The annotation that the last rotation answered.
    ADD COLUMN request text NOT NULL DEFAULT '',
    -- Of a retiring login: when it is closed at the latest, and when a session of it was seen last.
    ADD COLUMN retire_at timestamptz,
    ADD COLUMN seen_at timestamptz;
