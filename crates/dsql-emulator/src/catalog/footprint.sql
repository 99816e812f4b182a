-- Triggers on every table that report which rows a statement writes or locks.
--
-- A footprint is what DSQL compares at commit (aurora-dsql.md#conflict-matrix). It consists of
-- entries: an index, and the key of a row in it, for the primary key and every other unique index
-- that is neither partial nor on expressions. For a table without a primary key, the content of a
-- row is its key. The triggers are internal ones, like those of foreign keys, so clients do not see
-- them. They report by a notice that the emulator removes from the answer.

-- A value or row as one text that does not depend on the session's settings. Clients' statements
-- contain it as well (see `entries_expression`), so clients must be able to call it.
CREATE FUNCTION pg_catalog.dsql_emulator_text(anyelement) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE
  SET extra_float_digits = 1 SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
  AS $$ SELECT $1::text $$;

CREATE FUNCTION pg_toast_temp_dsql.base_type(type oid) RETURNS oid LANGUAGE sql STABLE AS $$
  WITH RECURSIVE chain AS (
    SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = type
    UNION ALL
    SELECT t.oid, t.typbasetype FROM chain c JOIN pg_catalog.pg_type t ON t.oid = c.typbasetype)
  SELECT oid FROM chain WHERE typbasetype = 0 $$;

-- An expression whose text is the same for equal keys: numbers without trailing zeros or negative
-- zero, strings without padding, and nothing that depends on a setting.
CREATE FUNCTION pg_toast_temp_dsql.canonical_expression(type oid, expression text) RETURNS text
  LANGUAGE sql STABLE AS $$
    SELECT CASE pg_toast_temp_dsql.base_type(type)
      WHEN 'numeric'::regtype THEN format('pg_catalog.trim_scale(%s)', expression)
      WHEN 'real'::regtype THEN format('pg_catalog.dsql_emulator_text(%s::float8 + 0)', expression)
      WHEN 'double precision'::regtype THEN format('pg_catalog.dsql_emulator_text(%s + 0)', expression)
      WHEN 'timestamptz'::regtype THEN format('pg_catalog.dsql_emulator_text(%s::timestamptz)', expression)
      WHEN 'bpchar'::regtype THEN format('%s::text', expression)
      ELSE expression END $$;

-- An expression for the key with these columns of `alias`; null if one of the columns is.
CREATE FUNCTION pg_toast_temp_dsql.key_expression(rel oid, columns int2[], alias text) RETURNS text
  LANGUAGE sql STABLE AS $$
    SELECT format('CASE WHEN pg_catalog.num_nulls(%s) = 0 THEN pg_catalog.json_build_array(%s)::text END',
        string_agg(format('%s.%I', alias, a.attname), ', ' ORDER BY c.position),
        string_agg(pg_toast_temp_dsql.canonical_expression(a.atttypid, format('%s.%I', alias, a.attname)), ', '
          ORDER BY c.position))
      FROM unnest(columns) WITH ORDINALITY AS c(number, position)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = rel AND a.attnum = c.number $$;

-- The unique indexes whose keys are entries of a footprint, the primary key first.
CREATE FUNCTION pg_toast_temp_dsql.unique_indexes(rel oid)
  RETURNS TABLE (index oid, columns int2[], is_primary boolean)
  LANGUAGE sql STABLE AS $$
    SELECT i.indexrelid, (i.indkey::int2[])[0:i.indnkeyatts - 1], i.indisprimary
      FROM pg_catalog.pg_index i
     WHERE i.indrelid = rel AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
     ORDER BY i.indisprimary DESC, i.indexrelid $$;

-- An expression for all the entries of a row of `alias`, as json: [[index, key], …].
CREATE FUNCTION pg_toast_temp_dsql.entries_expression(rel oid, alias text) RETURNS text
  LANGUAGE sql STABLE AS $$
    SELECT format('pg_catalog.json_build_array(%s)', string_agg(entry, ', '))
      FROM (
        SELECT format('pg_catalog.json_build_array(%s, %s)', k.index,
                 pg_toast_temp_dsql.key_expression(rel, k.columns, alias)) AS entry
          FROM pg_toast_temp_dsql.unique_indexes(rel) k
        UNION ALL
        SELECT format('pg_catalog.json_build_array(%s, pg_catalog.dsql_emulator_text(%s.*))', rel, alias)
         WHERE NOT EXISTS (SELECT 1 FROM pg_toast_temp_dsql.unique_indexes(rel) k WHERE k.is_primary)
      ) entries $$;

-- Reports a row with these entries as locked in this class. It is added to clients' queries, where
-- it is called for each row that they lock. It returns the same value for all rows, but PostgreSQL
-- must not know that.
CREATE FUNCTION pg_catalog.dsql_emulator_lock(class text, entries json) RETURNS boolean
  LANGUAGE plpgsql VOLATILE SET client_encoding = 'UTF8' AS $$
BEGIN
  RAISE NOTICE USING MESSAGE = 'dsql_emulator', DETAIL = '{"o":"' || class || '","e":' || entries::text || '}';
  RETURN true;
END $$;

-- The size of the key of an index in bytes, as observed on DSQL: its columns and those of the
-- primary key, and eight bytes for each column after the first (aurora-dsql.md#sizes).
CREATE FUNCTION pg_toast_temp_dsql.key_size_expression(an_index oid, alias text) RETURNS text
  LANGUAGE sql STABLE AS $$
    WITH i AS (SELECT * FROM pg_catalog.pg_index WHERE indexrelid = an_index),
    p AS (SELECT p.* FROM pg_catalog.pg_index p JOIN i ON p.indrelid = i.indrelid
           WHERE p.indisprimary AND NOT i.indisprimary),
    part AS (
      SELECT pg_catalog.pg_get_indexdef_of_host(i.indexrelid, n, false) AS expression,
             ia.atttypid AS type, i.indkey[n - 1] AS number, i.indrelid AS rel
        FROM i CROSS JOIN LATERAL generate_series(1, i.indnkeyatts::int) AS n
        JOIN pg_catalog.pg_attribute ia ON ia.attrelid = i.indexrelid AND ia.attnum = n
      UNION ALL
      SELECT NULL, a.atttypid, a.attnum, p.indrelid
        FROM p CROSS JOIN LATERAL generate_series(1, p.indnkeyatts::int) AS n
        JOIN pg_catalog.pg_attribute a ON a.attrelid = p.indrelid AND a.attnum = p.indkey[n - 1]
       WHERE NOT EXISTS (SELECT 1 FROM i CROSS JOIN LATERAL unnest(i.indkey) AS own(number)
                          WHERE own.number = a.attnum)),
    sized AS (
      SELECT CASE WHEN a.attname IS NULL THEN part.expression
                  ELSE format('%s.%I', alias, a.attname) END AS expression,
             t.typlen, t.typcategory
        FROM part
        JOIN pg_catalog.pg_type t ON t.oid = part.type
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = part.rel AND a.attnum = part.number
         AND part.number > 0)
    SELECT string_agg(
        CASE WHEN typlen > 0 THEN typlen::text
             WHEN typcategory = 'S' THEN format('COALESCE(pg_catalog.octet_length(%s), 0)', expression)
             ELSE format('COALESCE(pg_catalog.pg_column_size(%s), 0)', expression) END, ' + ')
      || ' + ' || (8 * (count(*) - 1))::text
      FROM sized $$;

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
CREATE FUNCTION pg_toast_temp_dsql.instrument(rel oid) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog AS $body$
DECLARE
  -- The overhead per row and per index entry, from two measurements (aurora-dsql.md#limits).
  row_overhead constant int := 123;
  entry_overhead constant int := 314;
  has_primary boolean;
  primary_key text;
  same_key text;
  row_size text := 'pg_catalog.pg_column_size(n.*)';
  -- For the aliases n (new rows) and o (old rows):
  new_keys text := '';
  old_keys text := '';
  some_new text := '';
  some_old text := '';
  some_keys text := '';
  all_new text := '';
  all_old text := '';
  no_keys text := '';
  parents text := '';
  changed_parents text := '';
  images_new text := 'NULL';
  images_old text := 'NULL';
  entry_sizes text := '';
  key_checks text := '';
  value_checks text := '';
  stored_sizes text;
  table_name text;
  item record;
  number int := 0;
  is_new boolean;
BEGIN
  SELECT format('%I.%I', n.nspname, c.relname) INTO STRICT table_name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid = rel;
  SELECT EXISTS (SELECT 1 FROM pg_toast_temp_dsql.unique_indexes(rel) k WHERE k.is_primary) INTO has_primary;

  FOR item IN SELECT * FROM pg_toast_temp_dsql.unique_indexes(rel) LOOP
    number := number + 1;
    new_keys := new_keys || format(', json_build_array(%s, json_agg(%s))', item.index,
      pg_toast_temp_dsql.key_expression(rel, item.columns, 'n'));
    all_new := all_new || format(', json_agg(%s)', pg_toast_temp_dsql.key_expression(rel, item.columns, 'n'));
    all_old := all_old || format(', json_agg(%s)', pg_toast_temp_dsql.key_expression(rel, item.columns, 'o'));
    no_keys := no_keys || format(', [%s, null]', item.index);
    old_keys := old_keys || format(', json_build_array(%s, json_agg(%s))', item.index,
      pg_toast_temp_dsql.key_expression(rel, item.columns, 'o'));
    some_new := some_new || format(', %s AS k%s',
      pg_toast_temp_dsql.key_expression(rel, item.columns, 'n'), number);
    some_old := some_old || format(', %s AS k%s',
      pg_toast_temp_dsql.key_expression(rel, item.columns, 'o'), number);
    some_keys := some_keys || format(', json_build_array(%s, json_agg(c.k%s))', item.index, number);
    IF item.is_primary THEN
      primary_key := pg_toast_temp_dsql.key_expression(rel, item.columns, 'n');
    END IF;
  END LOOP;
  IF NOT has_primary THEN
    images_new := 'json_agg(pg_catalog.dsql_emulator_text(n.*))';
    images_old := 'json_agg(pg_catalog.dsql_emulator_text(o.*))';
  END IF;

  -- Foreign keys: an entry in the unique index of the referenced table, in the order of its
  -- columns.
  FOR item IN
    SELECT f.conindid AS index, array_agg(own.number ORDER BY k.position) AS columns
      FROM pg_catalog.pg_constraint f
      JOIN pg_catalog.pg_index i ON i.indexrelid = f.conindid
     CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, position)
     CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS own(number, theirs)
     WHERE f.conrelid = rel AND f.contype = 'f' AND own.theirs = k.number
       AND k.position <= i.indnkeyatts
     GROUP BY f.oid, f.conindid
  LOOP
    parents := parents || format(', json_build_array(%s, json_agg(DISTINCT %s))', item.index,
      pg_toast_temp_dsql.key_expression(rel, item.columns, 'n'));
    changed_parents := changed_parents || format(
      ', json_build_array(%s, (SELECT json_agg(d.k) FROM (SELECT %s AS k FROM new_rows n EXCEPT SELECT %s FROM old_rows o) d))',
      item.index, pg_toast_temp_dsql.key_expression(rel, item.columns, 'n'),
      pg_toast_temp_dsql.key_expression(rel, item.columns, 'o'));
  END LOOP;

  -- Sizes (aurora-dsql.md#sizes). In the transition table, values are not compressed yet. The
  -- stored row is examined only if that size exceeds a limit. bytea is not compressed.
  SELECT string_agg(format('COALESCE(pg_catalog.%s(t.%I), 0)',
           CASE WHEN b.oid = 'bytea'::regtype THEN 'octet_length' ELSE 'pg_column_size' END, a.attname),
           ' + ' ORDER BY a.attnum),
         string_agg(CASE WHEN b.oid = 'bytea'::regtype THEN format(
$$      IF EXISTS (SELECT 1 FROM new_rows t WHERE pg_catalog.octet_length(t.%1$I) > 1048576) THEN
        RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'datatype limit greater than 1048576 bytes not supported for bytea';
      END IF;
$$, a.attname) WHEN b.oid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'json'::regtype, 'jsonb'::regtype) THEN format(
$$      IF EXISTS (SELECT 1 FROM new_rows t WHERE pg_catalog.octet_length(t.%1$I::text) > 1048576)
         AND EXISTS (SELECT 1 FROM %2$s t WHERE pg_catalog.pg_column_size(t.%1$I) > 1048576) THEN
        RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'datatype limit greater than 1048576 bytes not supported for %3$s';
      END IF;
$$, a.attname, table_name, CASE b.oid WHEN 'varchar'::regtype THEN 'varchar' WHEN 'bpchar'::regtype THEN 'char' ELSE b.typname END)
           END, '' ORDER BY a.attnum)
    INTO stored_sizes, value_checks
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN pg_catalog.pg_type b ON b.oid = pg_toast_temp_dsql.base_type(t.oid)
   WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped;

  -- A long value counts as a cluster stores it.
  IF has_primary THEN
    SELECT string_agg(format('t.%1$I = n.%1$I', a.attname), ' AND ') INTO same_key
      FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_attribute a ON a.attrelid = rel AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
     WHERE i.indrelid = rel AND i.indisprimary;
    row_size := format('CASE WHEN %1$s > 1048576 THEN (SELECT %2$s FROM %3$s t WHERE %4$s) ELSE %1$s END',
      row_size, stored_sizes, table_name, same_key);
  END IF;

  FOR item IN
    SELECT i.indexrelid, i.indisprimary, pg_toast_temp_dsql.key_size_expression(i.indexrelid, 'n') AS size
      FROM pg_catalog.pg_index i WHERE i.indrelid = rel
  LOOP
    key_checks := key_checks || format(', %s', item.size);
    IF NOT item.indisprimary THEN
      entry_sizes := entry_sizes || format(' + %s + %s', item.size, entry_overhead);
    END IF;
  END LOOP;

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
          substr(new_keys, 3), substr(parents, 3), images_new)
      ELSE
        format($$'w', %s, 's', json_build_array(%s), 'a', %s, 'r', %s$$,
          CASE WHEN has_primary THEN format('json_agg(%s)', primary_key) ELSE 'NULL' END,
          substr(changed_parents, 3), images_new,
          CASE WHEN has_primary THEN 'NULL' ELSE format('(SELECT %s FROM old_rows o)', images_old) END)
      END,
      COALESCE(value_checks, ''), table_name, COALESCE(stored_sizes, '0'),
      pg_toast_temp_dsql.trigger_prologue(), row_size,
      format('[%s]', substr(no_keys, 3)), CASE WHEN is_new THEN '' ELSE substr(all_new, 3) END,
      CASE WHEN is_new THEN '' WHEN number = 0 THEN '' ELSE format(
$$  IF dsql_keys IS DISTINCT FROM (SELECT json_build_array(%s)::text FROM old_rows o) THEN
    SELECT json_build_array(%s)::text INTO dsql_moved
      FROM ((SELECT %s FROM old_rows o EXCEPT ALL SELECT %s FROM new_rows n)
            UNION ALL (SELECT %s FROM new_rows n EXCEPT ALL SELECT %s FROM old_rows o)) c;
  END IF;
  dsql_report := '{"k":' || dsql_moved || ',' || pg_catalog.substr(dsql_report, 2);$$,
        substr(all_old, 3), substr(some_keys, 3), substr(some_old, 3), substr(some_new, 3),
        substr(some_new, 3), substr(some_old, 3)) END,
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
    rel || '_delete', rel, substr(old_keys, 3), images_old,
    pg_toast_temp_dsql.trigger_prologue(), pg_toast_temp_dsql.trigger_epilogue());

  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t
                  WHERE t.tgrelid = rel AND t.tgname LIKE 'dsql\_emulator\_%') THEN
    EXECUTE format('CREATE TRIGGER dsql_emulator_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION pg_toast_temp_dsql.%I()', table_name, rel || '_insert');
    EXECUTE format('CREATE TRIGGER dsql_emulator_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION pg_toast_temp_dsql.%I()', table_name, rel || '_update');
    EXECUTE format('CREATE TRIGGER dsql_emulator_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION pg_toast_temp_dsql.%I()', table_name, rel || '_delete');
    UPDATE pg_catalog.pg_trigger SET tgisinternal = true
     WHERE tgrelid = rel AND tgname LIKE 'dsql\_emulator\_%';
  END IF;

  DELETE FROM pg_toast_temp_dsql.instrumented i WHERE i.rel = instrument.rel;
  INSERT INTO pg_toast_temp_dsql.instrumented
    SELECT rel, ARRAY(SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = rel
      UNION ALL SELECT oid FROM pg_catalog.pg_constraint WHERE conrelid = rel),
      pg_toast_temp_dsql.entries_expression(rel, 't');
END $body$;
