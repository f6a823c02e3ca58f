-- How many living tenants each server has, kept as their rows come and go: choosing a server for the ten thousandth tenant reads as
-- much as for the first. Counted within the transaction that changes the rows, by whoever changes them.
-- Whoever writes now is waited for, and whoever comes later is counted by the triggers.
LOCK TABLE public.tenants IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE public.server_loads (
    server text PRIMARY KEY,
    tenants bigint NOT NULL
) WITH (fillfactor = 50);

INSERT INTO public.server_loads (server, tenants)
    SELECT server, count(*) FROM public.tenants WHERE status <> 'deleted' AND server IS NOT NULL GROUP BY server;

-- Servers in the order of their names, so that of two transactions that move tenants between the same two one waits for the other.
CREATE FUNCTION public.change_server_loads(p_servers text[], p_changes bigint[]) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO public.server_loads AS l (server, tenants)
        SELECT c.server, sum(c.change) FROM unnest(p_servers, p_changes) c (server, change)
         WHERE c.server IS NOT NULL GROUP BY c.server HAVING sum(c.change) <> 0 ORDER BY c.server
        ON CONFLICT (server) DO UPDATE SET tenants = l.tenants + excluded.tenants;
    DELETE FROM public.server_loads WHERE server = ANY (p_servers) AND tenants = 0;
$$;

-- Once a statement, however many rows it changes: a counter that one transaction changes often has as many versions meanwhile.
CREATE FUNCTION public.count_server_loads() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    servers text[];
    changes bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(server), array_agg(1) INTO servers, changes FROM come WHERE status <> 'deleted';
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(server), array_agg(-1) INTO servers, changes FROM gone WHERE status <> 'deleted';
    ELSE
        SELECT array_agg(server), array_agg(change) INTO servers, changes
          FROM (SELECT server, sum(change) FROM (SELECT server, -1 FROM gone WHERE status <> 'deleted'
                                                 UNION ALL SELECT server, 1 FROM come WHERE status <> 'deleted') c (server, change)
                 GROUP BY server HAVING sum(change) <> 0) moved (server, change);
    END IF;
    IF servers IS NOT NULL THEN
        PERFORM public.change_server_loads(servers, changes);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_new AFTER INSERT ON public.tenants REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION public.count_server_loads();
CREATE TRIGGER count_changed AFTER UPDATE ON public.tenants REFERENCING OLD TABLE AS gone NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION public.count_server_loads();
CREATE TRIGGER count_gone AFTER DELETE ON public.tenants REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION public.count_server_loads();
REVOKE ALL ON FUNCTION public.count_server_loads(), public.change_server_loads(text[], bigint[]) FROM PUBLIC;
