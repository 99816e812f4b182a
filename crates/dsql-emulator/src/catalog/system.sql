-- The system objects that clients see: the version, the one database, the schema sys.
--
-- Functions that would show the underlying PostgreSQL are renamed and replaced. Only the emulator
-- uses this database.

-- The emulator's own schema. Clients and their tools hide schemas whose names begin with
-- pg_toast_temp_. Tables are created in it before it has this name, because PostgreSQL would take
-- it for the schema of another session's temporary tables.
CREATE SCHEMA dsql_emulator;
-- The asynchronous jobs (aurora-dsql.md#jobs).
CREATE TABLE dsql_emulator.job (
  job_id text PRIMARY KEY,
  status text NOT NULL DEFAULT 'submitted',
  details text,
  job_type text NOT NULL,
  class_id oid NOT NULL DEFAULT 1259,
  object_id oid,
  object_name text,
  start_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Null until the status changes.
  update_time timestamptz
);
-- How long the row of a finished job is shown.
CREATE TABLE dsql_emulator.setting (kept_for interval NOT NULL);
INSERT INTO dsql_emulator.setting VALUES ('30 minutes');
-- The mappings of roles to IAM identities (aurora-dsql.md#connections).
CREATE TABLE dsql_emulator.iam_mapping (
  role oid NOT NULL,
  arn text NOT NULL,
  grantor oid NOT NULL,
  PRIMARY KEY (role, arn)
);
-- The tables that have triggers: the indexes and foreign keys that the triggers depend on, and an
-- expression for the entries of a row as json, [[index, key], …], for format() with its alias.
CREATE TABLE dsql_emulator.instrumented (rel oid PRIMARY KEY, parts oid[] NOT NULL, entries text NOT NULL);
SET LOCAL allow_system_table_mods = on;
ALTER SCHEMA dsql_emulator RENAME TO pg_toast_temp_dsql;
SET LOCAL allow_system_table_mods = off;

ALTER FUNCTION pg_catalog.version() RENAME TO version_of_host;
CREATE FUNCTION pg_catalog.version() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'PostgreSQL 16'::text $$;

ALTER FUNCTION pg_catalog.current_database() RENAME TO current_database_of_host;
CREATE FUNCTION pg_catalog.current_database() RETURNS name
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'postgres'::name $$;

-- Replaces CURRENT_CATALOG, which would return the name of the underlying database.
CREATE FUNCTION pg_catalog.current_catalog() RETURNS name
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'postgres'::name $$;

CREATE FUNCTION pg_catalog.dsql_emulator_unrecognized(text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = '42704',
    MESSAGE = format('unrecognized configuration parameter "%s"', $1);
END $$;
ALTER FUNCTION pg_catalog.current_setting(text) RENAME TO current_setting_of_host;
ALTER FUNCTION pg_catalog.current_setting(text, boolean) RENAME TO current_setting_of_host;
CREATE FUNCTION pg_catalog.current_setting(text) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE pg_catalog.lower($1)
      WHEN 'server_version' THEN '16.15'
      WHEN 'server_version_num' THEN '160015'
      WHEN 'lc_collate' THEN pg_catalog.dsql_emulator_unrecognized($1)
      WHEN 'lc_ctype' THEN pg_catalog.dsql_emulator_unrecognized($1)
      ELSE pg_catalog.current_setting_of_host($1) END $$;
CREATE FUNCTION pg_catalog.current_setting(text, boolean) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE pg_catalog.lower($1)
      WHEN 'server_version' THEN '16.15'
      WHEN 'server_version_num' THEN '160015'
      WHEN 'lc_collate' THEN CASE WHEN NOT $2 THEN pg_catalog.dsql_emulator_unrecognized($1) END
      WHEN 'lc_ctype' THEN CASE WHEN NOT $2 THEN pg_catalog.dsql_emulator_unrecognized($1) END
      ELSE pg_catalog.current_setting_of_host($1, $2) END $$;

-- Only the settings that SET accepts can be set (aurora-dsql.md#sessions). The change is reported,
-- because it is repeated when the transaction is rolled back to its start.
ALTER FUNCTION pg_catalog.set_config(text, text, boolean) RENAME TO set_config_of_host;
CREATE FUNCTION pg_catalog.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  value text;
  disabled boolean;
BEGIN
  -- The emulator stores this one.
  IF pg_catalog.lower($1) = 'disable_sync_create_index' THEN
    BEGIN
      disabled := COALESCE($2, 'on')::boolean;
    EXCEPTION WHEN invalid_text_representation THEN
      RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = pg_catalog.format('parameter "%s" requires a Boolean value', $1);
    END;
    RAISE NOTICE USING MESSAGE = 'dsql_emulator', DETAIL = pg_catalog.json_build_object(
      'o', 'sync_index', 'n', CASE WHEN disabled THEN 0 ELSE 1 END);
    RETURN CASE WHEN disabled THEN 'on' ELSE 'off' END;
  END IF;
  IF NOT pg_catalog.lower($1) = ANY ('{{settable}}'::text[]) THEN
    RAISE EXCEPTION USING ERRCODE = '0A000',
      MESSAGE = pg_catalog.format('setting configuration parameter "%s" not supported', $1);
  END IF;
  value := pg_catalog.set_config_of_host($1, $2, $3);
  RAISE NOTICE USING MESSAGE = 'dsql_emulator', DETAIL = pg_catalog.json_build_object('o', 'setting',
    'name', pg_catalog.convert_to(pg_catalog.format(
      'SELECT pg_catalog.set_config_of_host(%L, %L, %L)', $1, $2, $3), 'UTF8'));
  RETURN value;
END $$;

-- A name of a relation can begin with the name of the database (aurora-dsql.md#environment), which
-- has another name in the underlying server.
CREATE FUNCTION pg_catalog.dsql_emulator_own_name(text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.regexp_replace($1,
      '^\s*(?:postgres|"postgres")\s*\.\s*((?:[^\s".]+|"(?:[^"]|"")+")\s*\.\s*(?:[^\s".]+|"(?:[^"]|"")+"))\s*$',
      '\1') $$;
ALTER FUNCTION pg_catalog.to_regclass(text) RENAME TO to_regclass_of_host;
CREATE FUNCTION pg_catalog.to_regclass(text) RETURNS regclass
  LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.to_regclass_of_host(pg_catalog.dsql_emulator_own_name($1)) $$;
ALTER FUNCTION pg_catalog.regclass(text) RENAME TO regclass_of_host;
CREATE FUNCTION pg_catalog.regclass(text) RETURNS regclass
  LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.regclass_of_host(pg_catalog.dsql_emulator_own_name($1)) $$;
UPDATE pg_catalog.pg_cast SET castfunc = 'pg_catalog.regclass(text)'::regprocedure
 WHERE castfunc = 'pg_catalog.regclass_of_host(text)'::regprocedure;

-- The view pg_settings shows the same, and cannot be used to change settings.
CREATE OR REPLACE VIEW pg_catalog.pg_settings AS
  SELECT s.name,
         CASE s.name WHEN 'server_version' THEN '16.15' WHEN 'server_version_num' THEN '160015'
           ELSE s.setting END AS setting,
         s.unit, s.category, s.short_desc, s.extra_desc, s.context, s.vartype, s.source, s.min_val,
         s.max_val, s.enumvals,
         CASE s.name WHEN 'server_version' THEN '16.15' WHEN 'server_version_num' THEN '160015'
           ELSE s.boot_val END AS boot_val,
         CASE s.name WHEN 'server_version' THEN '16.15' WHEN 'server_version_num' THEN '160015'
           ELSE s.reset_val END AS reset_val,
         s.sourcefile, s.sourceline, s.pending_restart
    FROM pg_catalog.pg_show_all_settings() s
   WHERE s.name NOT IN ('lc_collate', 'lc_ctype');
DROP RULE pg_settings_u ON pg_catalog.pg_settings;

-- No extension can be created. The columns of the views differ between versions of PostgreSQL.
DO $$
DECLARE
  a_view text;
BEGIN
  FOREACH a_view IN ARRAY ARRAY['pg_available_extensions', 'pg_available_extension_versions'] LOOP
    EXECUTE format('CREATE OR REPLACE VIEW pg_catalog.%1$I AS SELECT * FROM (%2$s) AS available WHERE false',
      a_view, rtrim(pg_catalog.pg_get_viewdef(format('pg_catalog.%I', a_view)::regclass), ';'));
  END LOOP;
END $$;

-- The catalog as clients see it: one database (aurora-dsql.md#environment), the access method of
-- DSQL's indexes (aurora-dsql.md#indexes), no event triggers, which are the emulator's, and the
-- columns of the version that is reported. In these lists, `name/other` has another name in a later
-- version, `name=value` is missing in some version, and `name:=value` replaces the column. The server
-- finds its catalog by OIDs. ALTER TABLE would lock catalogs that all databases share.
SET LOCAL allow_system_table_mods = on;
DO $do$
DECLARE
  shown record;
BEGIN
  FOR shown IN
    SELECT v.catalog, v.condition, string_agg(format('%s AS %I', CASE
               WHEN item LIKE '%:=%' THEN value
               ELSE COALESCE((SELECT quote_ident(a.attname) FROM pg_catalog.pg_attribute a
                               WHERE a.attrelid = format('pg_catalog.%I', v.catalog)::regclass
                                 AND a.attname = ANY (names)), value) END, names[1]),
             ', ' ORDER BY position) AS columns
      FROM (VALUES
        ('pg_database', 'datname = pg_catalog.current_database_of_host()',
         $$oid, datname:='postgres'::name, datdba, encoding, datlocprovider, datistemplate, datallowconn, $$
         || $$datconnlimit, datfrozenxid, datminmxid, dattablespace, datcollate, datctype, $$
         || $$daticulocale/datlocale, daticurules=NULL::text, datcollversion, datacl$$),
        ('pg_collation', 'true',
         $$oid, collname, collnamespace, collowner, collprovider, collisdeterministic, collencoding, $$
         || $$collcollate, collctype, colliculocale/colllocale, collicurules=NULL::text, collversion$$),
        ('pg_auth_members', 'true',
         $$oid=0::oid, roleid, member, grantor, admin_option, inherit_option=true, set_option=true$$),
        ('pg_am', 'true',
         $$oid, amname:=CASE amname WHEN 'btree' THEN 'btree_index'::name ELSE amname END, amhandler, amtype$$),
        ('pg_event_trigger', 'false',
         'oid, evtname, evtevent, evtowner, evtfoid, evtenabled, evttags')
      ) AS v(catalog, condition, list)
     CROSS JOIN LATERAL string_to_table(v.list, ', ') WITH ORDINALITY AS l(item, position)
     CROSS JOIN LATERAL (SELECT string_to_array(split_part(split_part(item, '=', 1), ':', 1), '/'),
                                substr(item, strpos(item, '=') + 1)) AS p(names, value)
     GROUP BY v.catalog, v.condition
  LOOP
    UPDATE pg_catalog.pg_type SET typname = typname || '_of_host'
     WHERE typname IN (shown.catalog, '_' || shown.catalog) AND typnamespace = 'pg_catalog'::regnamespace;
    UPDATE pg_catalog.pg_class SET relname = relname || '_of_host'
     WHERE relname = shown.catalog AND relnamespace = 'pg_catalog'::regnamespace;
    EXECUTE format('CREATE VIEW pg_catalog.%I AS SELECT %s FROM pg_catalog.%I WHERE %s',
      shown.catalog, shown.columns, shown.catalog || '_of_host', shown.condition);
    EXECUTE format('GRANT SELECT ON pg_catalog.%I TO PUBLIC', shown.catalog);
  END LOOP;
END $do$;
SET LOCAL allow_system_table_mods = off;

-- The definition of an index names DSQL's access method, and that of a primary key includes all
-- other columns (aurora-dsql.md#indexes).
ALTER FUNCTION pg_catalog.pg_get_indexdef(oid) RENAME TO pg_get_indexdef_of_host;
ALTER FUNCTION pg_catalog.pg_get_indexdef(oid, integer, boolean) RENAME TO pg_get_indexdef_of_host;
CREATE FUNCTION pg_catalog.dsql_emulator_indexdef(definition text, an_index oid) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN i.indisprimary THEN regexp_replace(d.definition, ' INCLUDE \(.*\)$', '')
             || COALESCE((
                  SELECT ' INCLUDE (' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')'
                    FROM pg_attribute a
                   WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
                     AND a.attnum <> ALL ((i.indkey::int2[])[0:i.indnkeyatts - 1])), '')
           ELSE d.definition END
      FROM (SELECT regexp_replace($1, '^((?:[^"]|"(?:[^"]|"")*")*?) USING btree ',
                                  '\1 USING btree_index ') AS definition) AS d
      JOIN pg_index i ON i.indexrelid = $2 $$;
CREATE FUNCTION pg_catalog.pg_get_indexdef(oid) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.dsql_emulator_indexdef(pg_catalog.pg_get_indexdef_of_host($1), $1) $$;
CREATE FUNCTION pg_catalog.pg_get_indexdef(oid, integer, boolean) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN $2 = 0
                THEN pg_catalog.dsql_emulator_indexdef(pg_catalog.pg_get_indexdef_of_host($1, $2, $3), $1)
                ELSE pg_catalog.pg_get_indexdef_of_host($1, $2, $3) END $$;

-- PostgreSQL's own views refer to the renamed functions, by OIDs: those of information_schema, and
-- pg_indexes.
CREATE CAST (text AS pg_catalog.pg_node_tree) WITHOUT FUNCTION;
UPDATE pg_catalog.pg_rewrite r
   SET ev_action = replace(r.ev_action::text, f.of_host, f.own)::pg_catalog.pg_node_tree
  FROM (SELECT format(':funcid %s ', of_host::oid), format(':funcid %s ', own::oid)
          FROM (VALUES
            ('current_database_of_host()'::regprocedure, 'current_database()'::regprocedure),
            ('pg_get_indexdef_of_host(oid)', 'pg_get_indexdef(oid)')) AS v(of_host, own)) AS f(of_host, own),
       pg_catalog.pg_class v
 WHERE v.oid = r.ev_class AND (v.relnamespace = 'information_schema'::regnamespace OR v.relname = 'pg_indexes')
   AND r.ev_action::text LIKE '%' || f.of_host || '%';
DROP CAST (text AS pg_catalog.pg_node_tree);

-- DSQL has no text search configuration for any language (aurora-dsql.md#refused-statements).
-- PostgreSQL itself needs `simple`.
DO $$
DECLARE
  a_name name;
BEGIN
  FOR a_name IN SELECT cfgname FROM pg_catalog.pg_ts_config LOOP
    BEGIN
      EXECUTE format('DROP TEXT SEARCH CONFIGURATION pg_catalog.%I', a_name);
    EXCEPTION WHEN dependent_objects_still_exist THEN
      NULL;
    END;
  END LOOP;
END $$;

CREATE SCHEMA sys;
GRANT USAGE ON SCHEMA sys TO PUBLIC;

-- Functions of the cluster and the session (aurora-dsql.md#environment). Of most of them only the
-- name is observed, and their results are [I].
CREATE FUNCTION sys.dsql_major_version() RETURNS integer
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 1 $$;
CREATE FUNCTION sys.current_session_id() RETURNS text
  LANGUAGE sql STABLE AS $$ SELECT pg_catalog.current_setting_of_host('dsql_emulator.session_id') $$;
CREATE FUNCTION sys.iam_session_user() RETURNS text
  LANGUAGE sql STABLE AS $$ SELECT pg_catalog.current_setting_of_host('dsql_emulator.arn') $$;
CREATE FUNCTION sys.current_transaction_id() RETURNS text
  LANGUAGE sql STABLE AS $$ SELECT pg_catalog.pg_current_xact_id()::text $$;
CREATE FUNCTION sys.cluster_size() RETURNS bigint
  LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.pg_database_size(pg_catalog.current_database_of_host()) $$;
-- 10 TiB, the documented quota.
CREATE FUNCTION sys.cluster_size_limit() RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 10 * 1024::bigint ^ 4 $$;

-- Base 32 as in the ids of jobs (aurora-dsql.md#jobs).
CREATE FUNCTION sys.uuid_to_base32_str(uuid) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.string_agg(pg_catalog.substr('abcdefghijklmnopqrstuvwxyz234567',
        pg_catalog.substring(b.bits, 5 * n + 1, 5)::bit(5)::integer + 1, 1), '' ORDER BY n)
      FROM (SELECT ('x' || pg_catalog.replace($1::text, '-', ''))::bit(128)::text || '00' AS bits) b
     CROSS JOIN pg_catalog.generate_series(0, 25) AS n $$;
CREATE FUNCTION sys.base32_str_to_uuid(text) RETURNS uuid
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
DECLARE
  bits text;
BEGIN
  IF $1 !~ '^[a-z2-7]{26}$' THEN
    RAISE EXCEPTION USING ERRCODE = '22P02', MESSAGE = 'Unable to convert text to UUID';
  END IF;
  SELECT string_agg((strpos('abcdefghijklmnopqrstuvwxyz234567', c) - 1)::bit(5)::text, '' ORDER BY n)
    INTO bits FROM regexp_split_to_table($1, '') WITH ORDINALITY AS s(c, n);
  RETURN (lpad(to_hex(left(bits, 64)::bit(64)::bigint), 16, '0')
    || lpad(to_hex(substr(bits, 65, 64)::bit(64)::bigint), 16, '0'))::uuid;
END $$;

-- The types of columns (aurora-dsql.md#types).
CREATE FUNCTION pg_catalog.dsql_emulator_column_types() RETURNS oid[]
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{smallint,integer,bigint,real,double precision,numeric,bpchar,varchar,text,date,time,
      timetz,timestamp,timestamptz,interval,boolean,bytea,uuid,json,jsonb}'::regtype[]::oid[] $$;
CREATE FUNCTION sys.supported_datatypes() RETURNS SETOF text
  LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.format_type(t, NULL)
      FROM pg_catalog.unnest(pg_catalog.dsql_emulator_column_types()) AS t $$;

-- aurora-dsql.md#jobs. The name of a dropped object is not shown.
CREATE VIEW sys.jobs AS
  SELECT job_id, status, details, job_type, class_id, object_id,
         CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = object_id)
              THEN object_name END AS object_name,
         start_time, update_time
    FROM pg_toast_temp_dsql.job
   WHERE status IN ('submitted', 'processing')
      OR update_time > clock_timestamp() - (SELECT kept_for FROM pg_toast_temp_dsql.setting);
GRANT SELECT ON sys.jobs TO PUBLIC;

-- Exists for its signature. The emulator handles the CALL and never runs this.
CREATE PROCEDURE sys.wait_for_job(job_id text, INOUT succeeded boolean DEFAULT NULL)
  LANGUAGE plpgsql AS $$ BEGIN RAISE 'the emulator has not seen this CALL'; END $$;

-- aurora-dsql.md#connections
CREATE VIEW sys.iam_pg_role_mappings AS
  SELECT m.role AS iam_oid, m.arn, m.role AS pg_role_oid, r.rolname AS pg_role_name,
         m.grantor AS grantor_pg_role_oid, g.rolname AS grantor_pg_role_name
    FROM pg_toast_temp_dsql.iam_mapping m
    JOIN pg_catalog.pg_roles r ON r.oid = m.role
    LEFT JOIN pg_catalog.pg_roles g ON g.oid = m.grantor;
GRANT SELECT ON sys.iam_pg_role_mappings TO PUBLIC;
