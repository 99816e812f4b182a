-- Reads the changed rows of a transaction before it is detached, writes them back, and creates the
-- shadow tables of a transaction that has lost.

-- The writable columns: those that are not generated. (The planner replaces a call of a function that
-- returns a set by its query; other functions in SQL are planned at each call.)
CREATE FUNCTION pg_toast_temp_dsql.writable_columns(rel oid) RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' $$;

-- A FROM item `k` with the columns of the primary key, from keys in $1 as text[], and the condition
-- that joins it to `t`.
CREATE FUNCTION pg_toast_temp_dsql.key_source(rel oid) RETURNS TABLE (source text, condition text)
  LANGUAGE sql STABLE AS $$
    SELECT format('(SELECT %s FROM unnest($1) AS j(key)) AS k',
             string_agg(format('(j.key::json ->> %s)::%s AS c%s', n - 1,
               format_type(a.atttypid, a.atttypmod), n), ', ')),
           string_agg(format('t.%I = k.c%s', a.attname, n), ' AND ')
      FROM pg_catalog.pg_index i
     CROSS JOIN LATERAL generate_series(1, i.indnkeyatts::int) AS n
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n - 1]
     WHERE i.indrelid = rel AND i.indisprimary $$;

CREATE FUNCTION pg_toast_temp_dsql.table_name(rel oid) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog AS $$ SELECT rel::regclass::text $$;

-- The rows with these primary keys in this transaction: {"table": ["key", …], …}. They are returned
-- as bytes because the session may have another encoding than UTF-8.
CREATE FUNCTION pg_toast_temp_dsql.read_rows(keys json) RETURNS TABLE (rel oid, image bytea)
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  t record;
  k record;
BEGIN
  FOR t IN SELECT key::oid AS rel, ARRAY(SELECT json_array_elements_text(value)) AS keys
             FROM json_each(keys)
  LOOP
    SELECT * INTO k FROM pg_toast_temp_dsql.key_source(t.rel);
    RETURN QUERY EXECUTE format('SELECT %s::oid, convert_to(dsql_emulator_text(t.*), ''UTF8'') FROM %s JOIN %s t ON %s',
      t.rel, k.source, t.rel::regclass, k.condition) USING t.keys;
  END LOOP;
END $$;

-- Writes the changes of a transaction back. For each table: the changed keys, the rows with these
-- keys, and, without a primary key, the removed and added rows in order. The target is the table
-- itself or its shadow table.
CREATE FUNCTION pg_toast_temp_dsql.write_rows(changes json, to_shadow_tables boolean) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  t record;
  k record;
  step record;
  target text;
  insertion text;
  found bigint;
BEGIN
  FOR t IN SELECT key::oid AS rel, value FROM json_each(changes) LOOP
    target := CASE WHEN to_shadow_tables
      THEN format('pg_temp.%I', (SELECT relname FROM pg_catalog.pg_class WHERE oid = t.rel))
      ELSE t.rel::regclass::text END;
    SELECT format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM (SELECT (i.image::%3$s).* FROM unnest($1) AS i(image)) r',
             target, c, t.rel::regclass) INTO insertion FROM pg_toast_temp_dsql.writable_columns(t.rel) AS c;
    IF json_array_length(t.value -> 'keys') > 0 THEN
      SELECT * INTO k FROM pg_toast_temp_dsql.key_source(t.rel);
      EXECUTE format('DELETE FROM %s t USING %s WHERE %s', target, k.source, k.condition)
        USING ARRAY(SELECT json_array_elements_text(t.value -> 'keys'));
      EXECUTE insertion USING ARRAY(SELECT json_array_elements_text(t.value -> 'rows'));
    END IF;
    FOR step IN SELECT value ->> 0 AS removed, value ->> 1 AS added
                  FROM json_array_elements(t.value -> 'steps')
    LOOP
      IF step.removed IS NOT NULL THEN
        EXECUTE format('DELETE FROM %s WHERE ctid = (SELECT ctid FROM %s t WHERE dsql_emulator_text(t.*) = $1 LIMIT 1)',
          target, target) USING step.removed;
        GET DIAGNOSTICS found = ROW_COUNT;
        IF found = 0 THEN
          RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'a row does not exist any more';
        END IF;
      END IF;
      IF step.added IS NOT NULL THEN
        EXECUTE insertion USING ARRAY[step.added];
      END IF;
    END LOOP;
  END LOOP;
END $$;

-- The schemas of temporary tables, by numbers of sessions. PostgreSQL would create them with the first
-- shadow table, in a transaction that is always rolled back, and discard all plans of the session.
INSERT INTO pg_catalog.pg_namespace (oid, nspname, nspowner)
  SELECT pg_nextoid('pg_catalog.pg_namespace', 'oid', 'pg_catalog.pg_namespace_oid_index'), prefix || number, 10
    FROM generate_series(0, 255) AS number CROSS JOIN unnest('{pg_temp_,pg_toast_temp_}'::text[]) AS prefix;

-- Creates shadow tables: temporary copies of these tables, of those that the transaction has locked,
-- which are those of its statements, also behind views, and of those connected by foreign keys, in the
-- transaction's snapshot and with the changes of the transaction, as for write_rows. The known ones
-- exist already. Shadow tables hide the tables by their names and are dropped at the end of the
-- transaction. An identity column uses the sequence of its table.
CREATE FUNCTION pg_toast_temp_dsql.create_shadow_tables(tables oid[], known oid[], changes json)
  RETURNS TABLE (rel oid, schema_name name, table_name name)
  LANGUAGE plpgsql SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  created oid[] := '{}';
  script text;
BEGIN
  FOR rel, schema_name, table_name, script IN
    WITH RECURSIVE reached AS (
      SELECT i.rel FROM pg_toast_temp_dsql.instrumented i
       WHERE i.rel = ANY (tables || ARRAY(SELECT l.relation FROM pg_catalog.pg_locks l
                                           WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'))
      UNION
      SELECT CASE WHEN f.conrelid = r.rel THEN f.confrelid ELSE f.conrelid END
        FROM reached r JOIN pg_catalog.pg_constraint f
          ON f.contype = 'f' AND r.rel IN (f.conrelid, f.confrelid))
    SELECT t.oid, n.nspname, t.relname, format(
             'CREATE TEMP TABLE %1$I (LIKE %2$s INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING GENERATED%3$s) ON COMMIT DROP; '
             'INSERT INTO pg_temp.%1$I (%4$s) SELECT %4$s FROM %2$s; %5$s %6$s GRANT ALL ON pg_temp.%1$I TO PUBLIC',
             t.relname, t.oid::regclass,
             (SELECT string_agg(format(', CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)), '')
                FROM pg_catalog.pg_constraint k WHERE k.conrelid = t.oid AND k.contype IN ('p', 'u')),
             (SELECT c FROM pg_toast_temp_dsql.writable_columns(t.oid) AS c),
             (SELECT string_agg(replace(pg_get_indexdef_of_host(i.indexrelid), format(' ON %s ', t.oid::regclass),
                                        format(' ON pg_temp.%I ', t.relname)) || ';', ' ')
                FROM pg_catalog.pg_index i
               WHERE i.indrelid = t.oid AND i.indisunique AND i.indisvalid
                 AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))),
             (SELECT string_agg(format('ALTER TABLE pg_temp.%I ALTER COLUMN %I SET DEFAULT nextval(%L::regclass);',
                       t.relname, a.attname, pg_get_serial_sequence(t.oid::regclass::text, a.attname)), ' ')
                FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attidentity <> ''))
      FROM reached r
      JOIN pg_catalog.pg_class t ON t.oid = r.rel
      JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE r.rel <> ALL (known)
  LOOP
    EXECUTE script;
    created := created || rel;
    RETURN NEXT;
  END LOOP;
  PERFORM pg_toast_temp_dsql.write_rows(changes, true);
  -- Foreign keys come last. Existing rows are not checked: they are consistent in the snapshot, and
  -- the effects of foreign keys are among the changes.
  FOR script IN
    SELECT format('ALTER TABLE pg_temp.%I ADD CONSTRAINT %I %s%s', own.relname, f.conname,
             replace(d.definition, format('REFERENCES %s(', f.confrelid::regclass), format('REFERENCES pg_temp.%I(', other.relname)),
             CASE WHEN d.definition LIKE '% NOT VALID' THEN '' ELSE ' NOT VALID' END)
      FROM pg_catalog.pg_constraint f
      JOIN pg_catalog.pg_class own ON own.oid = f.conrelid
      JOIN pg_catalog.pg_class other ON other.oid = f.confrelid
     CROSS JOIN LATERAL (SELECT pg_get_constraintdef(f.oid)) AS d(definition)
     WHERE f.contype = 'f' AND f.conrelid = ANY (created)
  LOOP
    EXECUTE script;
  END LOOP;
END $$;

-- The members of the multixact with this id. The id in xmax may also be that of a transaction; then
-- there is no such multixact, or one of other rows.
CREATE FUNCTION pg_toast_temp_dsql.locking_transactions(id xid) RETURNS xid[] LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  RETURN ARRAY(SELECT member.xid FROM pg_get_multixact_members(id) AS member);
EXCEPTION WHEN OTHERS THEN
  RETURN '{}';
END $$;

-- Reports all rows that PostgreSQL has locked for this transaction and that it has not written. The
-- xmax of a row is the transaction id of its only locker, or the multixact id of several, as FOR
-- KEY SHARE permits. Nearly all locking queries report their rows themselves
-- (`dsql_emulator_lock`).
CREATE FUNCTION pg_toast_temp_dsql.report_locked_rows(class text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  item record;
  own xid[] := ARRAY(SELECT l.transactionid FROM pg_catalog.pg_locks l
                      WHERE l.pid = pg_backend_pid() AND l.locktype = 'transactionid');
BEGIN
  FOR item IN SELECT format(i.entries, 't') AS entries, i.rel::regclass AS table_name
               FROM pg_catalog.pg_locks l JOIN pg_toast_temp_dsql.instrumented i ON i.rel = l.relation
              WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'RowShareLock'
  LOOP
    EXECUTE format(
      'SELECT dsql_emulator_lock(%L, %s) FROM %s t WHERE t.xmax = ANY ($1) OR t.xmax <> ''0'' AND pg_toast_temp_dsql.locking_transactions(t.xmax) && $1',
      class, item.entries, item.table_name) USING own;
  END LOOP;
END $$;

-- Checks deferred foreign keys at the end of a transaction, for rows that were written back without
-- checks.
CREATE FUNCTION pg_toast_temp_dsql.check_deferred(tables oid[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  f record;
  missing boolean;
BEGIN
  FOR f IN
    SELECT c.conname, own.relname AS own_name, c.conrelid::regclass AS own,
           c.confrelid::regclass AS other,
           string_agg(format('o.%I = t.%I', theirs.attname, mine.attname), ' AND ') AS matches,
           string_agg(format('t.%I IS NOT NULL', mine.attname), ' AND ') AS set
      FROM pg_catalog.pg_constraint c
      JOIN pg_catalog.pg_class own ON own.oid = c.conrelid
     CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS pair(mine, theirs)
      JOIN pg_catalog.pg_attribute mine ON mine.attrelid = c.conrelid AND mine.attnum = pair.mine
      JOIN pg_catalog.pg_attribute theirs ON theirs.attrelid = c.confrelid AND theirs.attnum = pair.theirs
     WHERE c.contype = 'f' AND c.condeferrable AND c.convalidated
       AND (c.conrelid = ANY (tables) OR c.confrelid = ANY (tables))
     GROUP BY c.oid, c.conname, own.relname, c.conrelid, c.confrelid
  LOOP
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s t WHERE %s AND NOT EXISTS (SELECT 1 FROM %s o WHERE %s))',
      f.own, f.set, f.other, f.matches) INTO missing;
    IF missing THEN
      RAISE EXCEPTION USING ERRCODE = '23503', MESSAGE = format(
        'insert or update on table "%s" violates foreign key constraint "%s"', f.own_name, f.conname);
    END IF;
  END LOOP;
END $$;
