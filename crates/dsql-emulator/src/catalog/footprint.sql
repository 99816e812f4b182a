-- Triggers on every table that report which rows a statement writes or locks.
--
-- A footprint is what DSQL compares at commit (aurora-dsql.md#conflict-matrix). It consists of
-- entries: an index, and the key of a row in it, for the primary key and every other unique index
-- that is neither partial nor on expressions. For a table without a primary key, the content of a
-- row is its key. The triggers are internal ones, like those of foreign keys, so clients do not see
-- them. They report by a notice that the emulator removes from the answer.

-- A value or row as one text that does not depend on the session's settings. Clients' statements
-- contain it as well (see `instrumented.entries`), so clients must be able to call it.
CREATE FUNCTION pg_catalog.dsql_emulator_text(anyelement) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE
  SET extra_float_digits = 1 SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
  AS $$ SELECT $1::text $$;

-- The type behind a domain.
CREATE FUNCTION pg_toast_temp_dsql.base_type(type oid) RETURNS oid LANGUAGE sql STABLE AS $$
  WITH RECURSIVE chain AS (
    SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = type
    UNION ALL
    SELECT t.oid, t.typbasetype FROM chain c JOIN pg_catalog.pg_type t ON t.oid = c.typbasetype)
  SELECT oid FROM chain WHERE typbasetype = 0 $$;

-- The columns of a table or index, each with its type behind all domains.
CREATE FUNCTION pg_toast_temp_dsql.columns(rel oid)
  RETURNS TABLE (number int2, name name, type oid, typmod int, identity "char", base oid, length int2, category "char")
  LANGUAGE sql STABLE AS $$
    SELECT a.attnum, a.attname, a.atttypid, a.atttypmod, a.attidentity,
           CASE t.typtype WHEN 'd' THEN pg_toast_temp_dsql.base_type(t.oid) ELSE t.oid END,
           t.typlen, t.typcategory
      FROM pg_catalog.pg_attribute a
      JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
     WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped $$;

-- Reports a row with these entries as locked in this class. It is added to clients' queries, where
-- it is called for each row that they lock. It returns the same value for all rows, but PostgreSQL
-- must not know that.
CREATE FUNCTION pg_catalog.dsql_emulator_lock(class text, entries json) RETURNS boolean
  LANGUAGE plpgsql VOLATILE SET client_encoding = 'UTF8' AS $$
BEGIN
  RAISE NOTICE USING MESSAGE = 'dsql_emulator', DETAIL = '{"o":"' || class || '","e":' || entries::text || '}';
  RETURN true;
END $$;

-- An expression for the size of a value in the key of an index, in bytes.
CREATE FUNCTION pg_toast_temp_dsql.size_in_key(length int2, category "char", expression text) RETURNS text
  LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN length > 0 THEN length::text
                WHEN category = 'S' THEN format('COALESCE(pg_catalog.octet_length(%s), 0)', expression)
                ELSE format('COALESCE(pg_catalog.pg_column_size(%s), 0)', expression) END $$;

-- The first lines of every trigger. A statement that seems to read, and writes through a function
-- of a view, does not run in a transaction of the emulator; the error makes it run again in one.
CREATE FUNCTION pg_toast_temp_dsql.trigger_prologue() RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT
$body$  IF pg_catalog.current_setting_of_host('dsql_emulator.transaction', true) IS DISTINCT FROM 'on' THEN
    RAISE EXCEPTION USING ERRCODE = 'DE001', MESSAGE = 'a write outside of a transaction';
  END IF;$body$ $$;

-- The last lines of every trigger: sends the report in UTF-8, regardless of the client's encoding.
-- The encoding is changed only if it is another one, because that takes longer than most reports.
CREATE FUNCTION pg_toast_temp_dsql.trigger_epilogue() RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT
$body$  IF pg_catalog.current_setting_of_host('client_encoding') = 'UTF8' THEN
    RAISE NOTICE USING MESSAGE = 'dsql_emulator', DETAIL = dsql_report;
  ELSE
    PERFORM pg_toast_temp_dsql.report_in_utf8(dsql_report);
  END IF;
  RETURN NULL;$body$ $$;
CREATE FUNCTION pg_toast_temp_dsql.report_in_utf8(report text) RETURNS void
  LANGUAGE plpgsql SET client_encoding = 'UTF8' AS $$
BEGIN
  RAISE NOTICE USING MESSAGE = 'dsql_emulator', DETAIL = report;
END $$;

-- Creates the triggers of a table, or updates them after its keys or names have changed. A statement
-- without changed rows is not reported.
--
-- The functions are stored unchecked, which is quicker. The key of a row is a text that is the same
-- for equal keys: numbers without trailing zeros or negative zero, strings without padding, and
-- nothing that depends on a setting. It is null if one of its columns is.
CREATE FUNCTION pg_toast_temp_dsql.instrument(rel oid) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog SET check_function_bodies = off AS $body$
DECLARE
  -- The overhead per row and per index entry, from two measurements (aurora-dsql.md#limits).
  row_overhead constant int := 123;
  entry_overhead constant int := 314;
  table_name constant text := rel::regclass;
  item record;
  -- Expressions have the alias of a row as `%1$s`, for format(): n for new rows, o for old ones.
  expression text;
  -- By the number of a column: itself, its part of a key, its size in a key.
  names text[];
  canonical text[];
  sizes text[];
  stored_sizes text := '';
  value_checks text := '';
  depends_on oid[] := '{}';
  primary_columns int2[];
  entry_count int := 0;
  keys text := '';
  key_lists text := '';
  key_columns text := '';
  changed_keys text := '';
  no_keys text := '';
  row_entries text := '';
  primary_key text;
  -- The primary key of a row.
  row_key text := 'NULL::text';
  parents text := '';
  changed_parents text := '';
  size text;
  entry_sizes text := '';
  key_checks text := '';
  row_size text := 'pg_catalog.pg_column_size(n.*)';
  images text := 'NULL';
  is_new boolean;
BEGIN
  -- Sizes (aurora-dsql.md#sizes). In the transition table, values are not compressed yet. The
  -- stored row is examined only if that size exceeds a limit. bytea is not compressed.
  FOR item IN SELECT * FROM pg_toast_temp_dsql.columns(rel) ORDER BY number LOOP
    expression := '%1$s.' || replace(quote_ident(item.name), '%', '%%');
    names[item.number] := expression;
    canonical[item.number] := CASE item.base
      WHEN 'numeric'::regtype THEN format('pg_catalog.trim_scale(%s)', expression)
      WHEN 'real'::regtype THEN format('pg_catalog.dsql_emulator_text(%s::float8 + 0)', expression)
      WHEN 'double precision'::regtype THEN format('pg_catalog.dsql_emulator_text(%s + 0)', expression)
      WHEN 'timestamptz'::regtype THEN format('pg_catalog.dsql_emulator_text(%s::timestamptz)', expression)
      WHEN 'bpchar'::regtype THEN format('%s::text', expression)
      ELSE expression END;
    sizes[item.number] := pg_toast_temp_dsql.size_in_key(item.length, item.category, expression);
    stored_sizes := stored_sizes || format(' + COALESCE(pg_catalog.%s(t.%I), 0)',
      CASE item.base WHEN 'bytea'::regtype THEN 'octet_length' ELSE 'pg_column_size' END, item.name);
    IF item.base = 'bytea'::regtype THEN
      value_checks := value_checks || format(
$$      IF EXISTS (SELECT 1 FROM new_rows t WHERE pg_catalog.octet_length(t.%1$I) > 1048576) THEN
        RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'datatype limit greater than 1048576 bytes not supported for bytea';
      END IF;
$$, item.name);
    ELSIF item.base IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'json'::regtype, 'jsonb'::regtype) THEN
      value_checks := value_checks || format(
$$      IF EXISTS (SELECT 1 FROM new_rows t WHERE pg_catalog.octet_length(t.%1$I::text) > 1048576)
         AND EXISTS (SELECT 1 FROM %2$s t WHERE pg_catalog.pg_column_size(t.%1$I) > 1048576) THEN
        RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'datatype limit greater than 1048576 bytes not supported for %3$s';
      END IF;
$$, item.name, table_name, CASE item.base WHEN 'varchar'::regtype THEN 'varchar'
        WHEN 'bpchar'::regtype THEN 'char' ELSE item.base::regtype::text END);
    END IF;
  END LOOP;

  -- The indexes, the primary key first, and the foreign keys: a foreign key is an entry in the unique
  -- index of the referenced table, in the order of its columns.
  FOR item IN
    SELECT i.indexrelid AS object, i.indexrelid AS index, (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns,
           i.indkey::int2[] AS stored, i.indisprimary AS is_primary,
           i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AS is_entry, false AS is_parent
      FROM pg_catalog.pg_index i WHERE i.indrelid = rel
    UNION ALL
    SELECT f.oid, f.conindid, ARRAY(SELECT f.conkey[array_position(f.confkey, k)]
             FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k), NULL, false, false, true
      FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_index i ON i.indexrelid = f.conindid
     WHERE f.conrelid = rel AND f.contype = 'f'
     ORDER BY is_parent, is_primary DESC, object
  LOOP
    depends_on := depends_on || item.object;
    IF item.is_primary THEN
      primary_columns := item.columns;
    END IF;
    SELECT format('CASE WHEN pg_catalog.num_nulls(%s) = 0 THEN pg_catalog.json_build_array(%s)::text END',
             string_agg(names[c], ', '), string_agg(canonical[c], ', '))
      INTO expression FROM unnest(item.columns) AS c;
    IF item.is_primary THEN
      row_key := expression;
    END IF;
    IF item.is_entry THEN
      entry_count := entry_count + 1;
      keys := keys || format(', json_build_array(%s, json_agg(%s))', item.index, expression);
      key_lists := key_lists || format(', json_agg(%s)', expression);
      key_columns := key_columns || format(', %s AS k%s', expression, entry_count);
      changed_keys := changed_keys || format(', json_build_array(%s, json_agg(c.k%s))', item.index, entry_count);
      no_keys := no_keys || format(', [%s, null]', item.index);
      row_entries := row_entries || format(', pg_catalog.json_build_array(%s, %s)', item.index, expression);
      primary_key := COALESCE(primary_key, format('json_agg(%s)', format(expression, 'n')));
    ELSIF item.is_parent THEN
      parents := parents || format(', json_build_array(%s, json_agg(DISTINCT %s))', item.index, format(expression, 'n'));
      changed_parents := changed_parents || format(
        ', json_build_array(%1$s, (SELECT json_agg(DISTINCT d.k) FROM ('
        '(SELECT e.k FROM (SELECT %2$s AS k, %3$s AS r FROM new_rows n EXCEPT SELECT %4$s, %5$s FROM old_rows o) e '
        'WHERE e.r IN (SELECT %5$s FROM old_rows o)) UNION ALL '
        '(SELECT %2$s FROM new_rows n EXCEPT ALL SELECT %4$s FROM old_rows o)) d))',
        item.index, format(expression, 'n'), format(row_key, 'n'), format(expression, 'o'), format(row_key, 'o'));
    END IF;
    CONTINUE WHEN item.is_parent;
    -- The size of a key, as observed on DSQL: its columns and those of the primary key, and eight
    -- bytes for each column after the first (aurora-dsql.md#sizes).
    SELECT format(string_agg(COALESCE(sizes[c], (
               SELECT pg_toast_temp_dsql.size_in_key(e.length, e.category,
                        replace(pg_catalog.pg_get_indexdef_of_host(item.index, n::int, false), '%', '%%'))
                 FROM pg_toast_temp_dsql.columns(item.index) e WHERE e.number = n)), ' + '), 'n')
             || ' + ' || 8 * (count(*) - 1)
      INTO size
      FROM unnest(item.columns || ARRAY(SELECT p FROM unnest(primary_columns) AS p WHERE p <> ALL (item.stored)))
           WITH ORDINALITY AS part(c, n);
    key_checks := key_checks || ', ' || size;
    IF NOT item.is_primary THEN
      entry_sizes := entry_sizes || format(' + %s + %s', size, entry_overhead);
    END IF;
  END LOOP;

  -- A long value counts as a cluster stores it.
  IF primary_columns IS NOT NULL THEN
    row_size := format('CASE WHEN %1$s > 1048576 THEN (SELECT %2$s FROM %3$s t WHERE %4$s) ELSE %1$s END',
      row_size, substr(stored_sizes, 4), table_name,
      (SELECT string_agg(format(names[c] || ' = ', 't') || format(names[c], 'n'), ' AND ') FROM unnest(primary_columns) AS c));
  ELSE
    primary_key := 'NULL';
    images := 'json_agg(pg_catalog.dsql_emulator_text(%1$s.*))';
    row_entries := row_entries || format(', pg_catalog.json_build_array(%s, pg_catalog.dsql_emulator_text(%%1$s.*))', rel);
  END IF;

  -- The triggers for INSERT (is_new) and UPDATE check and count alike, and report differently. Most
  -- updates change no key: only if the lists of old and new keys differ are the changed keys found.
  FOREACH is_new IN ARRAY ARRAY[true, false] LOOP
    EXECUTE format($function$
CREATE OR REPLACE FUNCTION pg_toast_temp_dsql.%1$I() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER AS $trigger$
#variable_conflict use_column
DECLARE
  dsql_rows bigint;
  dsql_widest bigint;
  dsql_longest bigint;
  dsql_report text;
  dsql_keys text;
  dsql_moved text := %12$L;
BEGIN
%10$s
  SELECT count(*), max(pg_catalog.pg_column_size(n.*)), max(%2$s), json_build_array(%13$s)::text,
      json_build_object(
      't', %3$s, 'o', %4$L, 'x', pg_catalog.txid_current(), 'n', count(*),
      'b', sum(%11$s + %5$s),
      %6$s)::text
    INTO dsql_rows, dsql_widest, dsql_longest, dsql_keys, dsql_report
    FROM new_rows n;
  IF dsql_rows = 0 THEN
    RETURN NULL;
  END IF;
  IF dsql_longest > 1981 THEN
    RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'key size too large';
  END IF;
  IF dsql_widest > 1048576 THEN
%7$s    IF dsql_widest > 2097152
       AND EXISTS (SELECT 1 FROM %8$s t WHERE %9$s > 2097152) THEN
      RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'maximum row size exceeded';
    END IF;
  END IF;
%14$s
%15$s
END $trigger$ $function$,
      rel || CASE WHEN is_new THEN '_insert' ELSE '_update' END,
      CASE WHEN key_checks = '' THEN '0' ELSE format('GREATEST(0%s)', key_checks) END,
      rel,
      CASE WHEN is_new THEN 'i' ELSE 'u' END,
      row_overhead || CASE WHEN is_new THEN entry_sizes ELSE '' END,
      CASE WHEN is_new THEN
        format($$'k', json_build_array(%s), 's', json_build_array(%s), 'a', %s$$,
          format(substr(keys, 3), 'n'), substr(parents, 3), format(images, 'n'))
      ELSE
        format($$'w', %s, 's', json_build_array(%s), 'a', %s, 'r', %s$$, primary_key,
          substr(changed_parents, 3), format(images, 'n'),
          CASE images WHEN 'NULL' THEN images ELSE format('(SELECT %s FROM old_rows o)', format(images, 'o')) END)
      END,
      value_checks, table_name, COALESCE(NULLIF(substr(stored_sizes, 4), ''), '0'),
      pg_toast_temp_dsql.trigger_prologue(), row_size,
      format('[%s]', substr(no_keys, 3)), CASE WHEN is_new THEN '' ELSE format(substr(key_lists, 3), 'n') END,
      CASE WHEN is_new THEN '' WHEN entry_count = 0 THEN '' ELSE format(
$$  IF dsql_keys IS DISTINCT FROM (SELECT json_build_array(%s)::text FROM old_rows o) THEN
    SELECT json_build_array(%s)::text INTO dsql_moved
      FROM ((SELECT %s FROM old_rows o EXCEPT ALL SELECT %s FROM new_rows n)
            UNION ALL (SELECT %s FROM new_rows n EXCEPT ALL SELECT %s FROM old_rows o)) c;
  END IF;
  dsql_report := '{"k":' || dsql_moved || ',' || pg_catalog.substr(dsql_report, 2);$$,
        format(substr(key_lists, 3), 'o'), substr(changed_keys, 3),
        format(substr(key_columns, 3), 'o'), format(substr(key_columns, 3), 'n'),
        format(substr(key_columns, 3), 'n'), format(substr(key_columns, 3), 'o')) END,
      pg_toast_temp_dsql.trigger_epilogue());
  END LOOP;

  EXECUTE format($function$
CREATE OR REPLACE FUNCTION pg_toast_temp_dsql.%1$I() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER AS $trigger$
DECLARE
  dsql_rows bigint;
  dsql_report text;
BEGIN
%5$s
  SELECT count(*), json_build_object('t', %2$s, 'o', 'd', 'x', pg_catalog.txid_current(),
      'n', count(*), 'k', json_build_array(%3$s), 'r', %4$s)::text
    INTO dsql_rows, dsql_report FROM old_rows o;
  IF dsql_rows = 0 THEN
    RETURN NULL;
  END IF;
%6$s
END $trigger$ $function$,
    rel || '_delete', rel, format(substr(keys, 3), 'o'), format(images, 'o'),
    pg_toast_temp_dsql.trigger_prologue(), pg_toast_temp_dsql.trigger_epilogue());

  row_entries := format('pg_catalog.json_build_array(%s)', substr(row_entries, 3));
  UPDATE pg_toast_temp_dsql.instrumented i SET parts = depends_on, entries = row_entries WHERE i.rel = instrument.rel;
  IF NOT FOUND THEN
    EXECUTE format(
$$CREATE TRIGGER dsql_emulator_insert AFTER INSERT ON %1$s REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION pg_toast_temp_dsql.%2$I();
  CREATE TRIGGER dsql_emulator_update AFTER UPDATE ON %1$s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION pg_toast_temp_dsql.%3$I();
  CREATE TRIGGER dsql_emulator_delete AFTER DELETE ON %1$s REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION pg_toast_temp_dsql.%4$I()$$,
      table_name, rel || '_insert', rel || '_update', rel || '_delete');
    UPDATE pg_catalog.pg_trigger SET tgisinternal = true WHERE tgrelid = rel AND NOT tgisinternal;
    INSERT INTO pg_toast_temp_dsql.instrumented VALUES (rel, depends_on, row_entries);
  END IF;
END $body$;
