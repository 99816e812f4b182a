-- The system objects that clients see: the version, the one database, the schema sys.
--
-- Functions that would show the underlying PostgreSQL are renamed and replaced. Only the emulator
-- uses this database.

CREATE SCHEMA dsql_emulator;

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

-- The views of information_schema refer to the renamed function.
DO $$
DECLARE
  a_view record;
BEGIN
  FOR a_view IN
    SELECT schemaname, viewname, definition FROM pg_catalog.pg_views
     WHERE schemaname = 'information_schema' AND definition LIKE '%current_database_of_host%'
  LOOP
    EXECUTE format('CREATE OR REPLACE VIEW %I.%I AS %s', a_view.schemaname, a_view.viewname,
      replace(a_view.definition, 'current_database_of_host', 'current_database'));
  END LOOP;
END $$;

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

-- Asynchronous jobs (aurora-dsql.md#jobs).
CREATE TABLE dsql_emulator.job (
  job_id text PRIMARY KEY,
  status text NOT NULL DEFAULT 'submitted',
  details text,
  job_type text NOT NULL,
  class_id oid NOT NULL DEFAULT 1259,
  object_id oid,
  object_name text,
  start_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  update_time timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- How long the row of a finished job is shown.
CREATE TABLE dsql_emulator.setting (kept_for interval NOT NULL);
INSERT INTO dsql_emulator.setting VALUES ('30 minutes');

-- The name of a dropped object is not shown.
CREATE VIEW sys.jobs AS
  SELECT job_id, status, details, job_type, class_id, object_id,
         CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = object_id)
              THEN object_name END AS object_name,
         start_time, update_time
    FROM dsql_emulator.job
   WHERE status IN ('submitted', 'processing')
      OR update_time > clock_timestamp() - (SELECT kept_for FROM dsql_emulator.setting);
GRANT SELECT ON sys.jobs TO PUBLIC;

-- Exists for its signature. The emulator handles the CALL and never runs this.
CREATE PROCEDURE sys.wait_for_job(job_id text, INOUT succeeded boolean DEFAULT NULL)
  LANGUAGE plpgsql AS $$ BEGIN RAISE 'the emulator has not seen this CALL'; END $$;

-- The mappings of roles to IAM identities (aurora-dsql.md#connections).
CREATE TABLE dsql_emulator.iam_mapping (
  role oid NOT NULL,
  arn text NOT NULL,
  grantor oid NOT NULL,
  PRIMARY KEY (role, arn)
);
CREATE VIEW sys.iam_pg_role_mappings AS
  SELECT m.role AS iam_oid, m.arn, m.role AS pg_role_oid, r.rolname AS pg_role_name,
         m.grantor AS grantor_pg_role_oid, g.rolname AS grantor_pg_role_name
    FROM dsql_emulator.iam_mapping m
    JOIN pg_catalog.pg_roles r ON r.oid = m.role
    LEFT JOIN pg_catalog.pg_roles g ON g.oid = m.grantor;
GRANT SELECT ON sys.iam_pg_role_mappings TO PUBLIC;
