-- DSQL's checks of new objects, after PostgreSQL has resolved them, and the triggers of new tables.
--
-- Types are checked after PostgreSQL has resolved aliases and domains. Their names in messages are
-- PostgreSQL's display names, as in DSQL's messages (aurora-dsql.md#refused-statements,
-- aurora-dsql.md#types).

CREATE FUNCTION pg_toast_temp_dsql.raise_error(code text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
END $$;

-- aurora-dsql.md#types: functions cannot have the types that expressions cannot have [S SUITES].
-- Only the emulator can create functions in its schema: those of its triggers need no check.
CREATE FUNCTION pg_toast_temp_dsql.check_function() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
  refused text;
BEGIN
  IF pg_catalog.has_schema_privilege('pg_toast_temp_dsql', 'CREATE') THEN
    RETURN;
  END IF;
  SELECT pg_catalog.format_type(t.oid, NULL) INTO refused
    FROM pg_catalog.pg_event_trigger_ddl_commands() c
    JOIN pg_catalog.pg_proc p ON p.oid = c.objid
   CROSS JOIN LATERAL pg_catalog.unnest(p.prorettype || p.proargtypes::oid[] || p.proallargtypes) AS used(type)
    JOIN pg_catalog.pg_type t ON t.oid = used.type
   WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_type g
           WHERE g.oid IN (t.oid, t.typelem) AND g.typcategory = 'G');
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = pg_catalog.format('datatype %s not supported', refused);
  END IF;
END $$;
CREATE EVENT TRIGGER dsql_emulator_check_function ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION')
  EXECUTE FUNCTION pg_toast_temp_dsql.check_function();

CREATE FUNCTION pg_toast_temp_dsql.check_table(rel oid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  a record;
  column_count int := 0;
  has_key boolean;
BEGIN
  FOR a IN SELECT c.* FROM pg_toast_temp_dsql.columns(rel) c ORDER BY c.number LOOP
    column_count := column_count + 1;
    IF a.identity <> '' AND a.type <> 'bigint'::regtype THEN
      PERFORM pg_toast_temp_dsql.raise_error('0A000', format(
        'datatype %s not supported, identity column type must be bigint', format_type(a.type, NULL)));
    END IF;
    IF a.base <> ALL (dsql_emulator_column_types()) THEN
      PERFORM pg_toast_temp_dsql.raise_error('0A000', format('datatype %s not supported', format_type(a.base, NULL)));
    END IF;
    IF a.base = 'varchar'::regtype AND a.typmod > 65535 + 4 THEN
      PERFORM pg_toast_temp_dsql.raise_error('54000', 'Datatype limit greater than 65535 bytes not supported for varchar');
    END IF;
    IF a.base = 'bpchar'::regtype AND a.typmod > 4096 + 4 THEN
      PERFORM pg_toast_temp_dsql.raise_error('54000', 'Datatype limit greater than 4096 bytes not supported for char');
    END IF;
    -- A numeric without precision is a numeric(18,6). The column is new and has no values.
    IF a.type = 'numeric'::regtype AND a.typmod = -1 THEN
      UPDATE pg_catalog.pg_attribute SET atttypmod = ((18 << 16) | 6) + 4
       WHERE attrelid = rel AND attnum = a.number;
    END IF;
  END LOOP;
  IF column_count > 256 THEN
    SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_index WHERE indrelid = rel AND indisprimary) INTO has_key;
    PERFORM pg_toast_temp_dsql.raise_error('54011', CASE WHEN has_key
      THEN 'cannot use more than 256 columns in an index'
      ELSE 'tables can have at most 255 columns' END);
  END IF;
END $$;

CREATE FUNCTION pg_toast_temp_dsql.check_index(an_index oid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  i record;
  a record;
  declared int := 0;
BEGIN
  SELECT * INTO STRICT i FROM pg_catalog.pg_index WHERE indexrelid = an_index;
  IF i.indnkeyatts > 8 THEN
    PERFORM pg_toast_temp_dsql.raise_error('54011', 'more than 8 column keys in an index are not supported');
  END IF;
  FOR a IN
    SELECT c.base, COALESCE(t.atttypmod, c.typmod) AS typmod
      FROM pg_toast_temp_dsql.columns(an_index) c
      LEFT JOIN pg_catalog.pg_attribute t
        ON t.attrelid = i.indrelid AND t.attnum = i.indkey[c.number - 1] AND t.attnum > 0
     WHERE c.number <= i.indnkeyatts ORDER BY c.number
  LOOP
    -- aurora-dsql.md#types: types of keys.
    IF a.base <> ALL ('{smallint,integer,bigint,real,double precision,numeric,bpchar,varchar,text,
                        date,time,timestamp,timestamptz,boolean,uuid}'::regtype[]) THEN
      PERFORM pg_toast_temp_dsql.raise_error('0A000', format('datatype %s is not supported in a key',
        format_type(a.base, NULL)));
    END IF;
    IF a.base IN ('varchar'::regtype, 'bpchar'::regtype) AND a.typmod > 4 THEN
      declared := declared + a.typmod - 4;
    END IF;
  END LOOP;
  IF declared > 2000 THEN
    PERFORM pg_toast_temp_dsql.raise_error('54000', 'key size greater than 2000 bytes not supported');
  END IF;
  IF (SELECT count(*) FROM pg_catalog.pg_index o WHERE o.indrelid = i.indrelid) > 24 THEN
    PERFORM pg_toast_temp_dsql.raise_error('54000', 'more than 24 indexes per table are not allowed');
  END IF;
END $$;

-- aurora-dsql.md#sizes: the number of objects of a cluster. Schemas are counted before the statement.
CREATE FUNCTION pg_toast_temp_dsql.check_counts() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  kind record;
BEGIN
  FOR kind IN
    SELECT o.what, o.most, count(*) AS found FROM (
      SELECT CASE c.relkind WHEN 'r' THEN 'tables' WHEN 'v' THEN 'views' WHEN 'S' THEN 'sequences is' END AS what,
             CASE c.relkind WHEN 'r' THEN 1000 ELSE 5000 END AS most
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'v', 'S') AND n.nspname NOT LIKE 'pg\_%'
         AND n.nspname NOT IN ('information_schema', 'sys')
      ) o GROUP BY o.what, o.most HAVING count(*) > o.most
  LOOP
    PERFORM pg_toast_temp_dsql.raise_error('54000', format('creating more than %s %s not allowed', kind.most, kind.what));
  END LOOP;
END $$;

-- Checks what a client's statement has created, and makes the triggers of its tables.
CREATE FUNCTION pg_toast_temp_dsql.check_ddl() RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog SET client_encoding = 'UTF8' AS $$
DECLARE
  c record;
  touched oid[] := '{}';
  is_counted boolean := false;
BEGIN
  -- Dispatch by the object's own kind: for a renamed column the event says `table column`, and
  -- ALTER INDEX and ALTER VIEW can rename tables as well.
  FOR c IN SELECT DISTINCT d.objid, d.object_identity, d.command_tag, d.classid, r.relkind, r.relpersistence
             FROM pg_event_trigger_ddl_commands() d
             LEFT JOIN pg_catalog.pg_class r
               ON d.classid = 'pg_catalog.pg_class'::regclass AND r.oid = d.objid
            ORDER BY r.relkind DESC
  LOOP
    -- In the schema pg_temp a relation is temporary without the word.
    IF c.relpersistence = 't' THEN
      PERFORM pg_toast_temp_dsql.raise_error('0A000', format('TEMPORARY or TEMP %1$s not supported for CREATE %2$s',
        lower(substr(c.command_tag, 8)), substr(c.command_tag, 8)));
    END IF;
    IF c.relkind IN ('r', 'v', 'S') THEN
      is_counted := true;
    END IF;
    IF c.relkind = 'r' THEN
      PERFORM pg_toast_temp_dsql.check_table(c.objid);
      touched := touched || c.objid;
    ELSIF c.relkind = 'i' AND c.command_tag = 'CREATE INDEX' THEN
      PERFORM pg_toast_temp_dsql.check_index(c.objid);
      touched := touched || (SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid = c.objid);
      RAISE NOTICE USING MESSAGE = 'dsql_emulator', DETAIL = json_build_object(
        'o', 'index', 't', c.objid::bigint, 'name', c.object_identity);
    ELSIF c.command_tag = 'CREATE DOMAIN'
          AND pg_toast_temp_dsql.base_type(c.objid) <> ALL (dsql_emulator_column_types()) THEN
      -- [I]: no column could have the domain.
      PERFORM pg_toast_temp_dsql.raise_error('0A000', format('datatype %s not supported',
        format_type(pg_toast_temp_dsql.base_type(c.objid), NULL)));
    ELSIF c.classid = 'pg_catalog.pg_namespace'::regclass THEN
      touched := touched || ARRAY(SELECT i.rel FROM pg_toast_temp_dsql.instrumented i
        JOIN pg_catalog.pg_class t ON t.oid = i.rel WHERE t.relnamespace = c.objid);
    END IF;
  END LOOP;
  IF is_counted THEN
    PERFORM pg_toast_temp_dsql.check_counts();
  END IF;
  PERFORM pg_toast_temp_dsql.instrument(t.rel) FROM (SELECT DISTINCT unnest(touched) AS rel) t;
END $$;

-- The emulator's own statements run as the owner of these functions; clients' statements never do.
-- The tags are those of statements that create a relation or domain, or change a table's columns,
-- keys or name. The statements that create the triggers are not among them.
CREATE FUNCTION pg_toast_temp_dsql.after_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF session_user <> current_user THEN
    PERFORM pg_toast_temp_dsql.check_ddl();
  END IF;
END $$;
CREATE EVENT TRIGGER dsql_emulator_after_ddl ON ddl_command_end
  WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE INDEX', 'CREATE VIEW', 'CREATE SEQUENCE',
    'CREATE DOMAIN', 'CREATE SCHEMA', 'ALTER TABLE', 'ALTER INDEX', 'ALTER VIEW', 'ALTER SEQUENCE', 'ALTER SCHEMA')
  EXECUTE FUNCTION pg_toast_temp_dsql.after_ddl();

-- A dropped key changes what the triggers of its table report. Dropping a table or index starts a
-- job (aurora-dsql.md#jobs), which the emulator creates.
CREATE FUNCTION pg_toast_temp_dsql.after_drop() RETURNS event_trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  dropped oid[];
  tables oid[];
  original oid[];
  functions text;
  one record;
BEGIN
  IF session_user = current_user THEN
    RETURN;
  END IF;
  SELECT array_agg(o.objid), array_agg(o.objid) FILTER (WHERE o.object_type = 'table'),
         array_agg(o.objid) FILTER (WHERE o.original AND o.object_type IN ('table', 'index'))
    INTO dropped, tables, original FROM pg_event_trigger_dropped_objects() o;
  FOR one IN SELECT unnest(original) AS objid LOOP
    RAISE NOTICE USING MESSAGE = 'dsql_emulator', DETAIL = json_build_object('o', 'drop', 't', one.objid::bigint);
  END LOOP;
  SELECT string_agg(format('pg_toast_temp_dsql.%I(), pg_toast_temp_dsql.%I(), pg_toast_temp_dsql.%I()',
           rel || '_insert', rel || '_update', rel || '_delete'), ', ')
    INTO functions FROM unnest(tables) AS rel;
  IF functions IS NOT NULL THEN
    EXECUTE 'DROP FUNCTION IF EXISTS ' || functions;
    DELETE FROM pg_toast_temp_dsql.instrumented WHERE rel = ANY (tables);
  END IF;
  PERFORM pg_toast_temp_dsql.instrument(i.rel) FROM pg_toast_temp_dsql.instrumented i WHERE i.parts && dropped;
END $$;
CREATE EVENT TRIGGER dsql_emulator_after_drop ON sql_drop
  WHEN TAG IN ('DROP TABLE', 'DROP INDEX', 'DROP SCHEMA', 'ALTER TABLE', 'DROP OWNED')
  EXECUTE FUNCTION pg_toast_temp_dsql.after_drop();
