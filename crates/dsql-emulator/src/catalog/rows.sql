-- Reads the changed rows of a transaction before it is detached, writes them back, and creates the
-- shadow tables of a transaction that has lost.

-- The writable columns: those that are not generated.
CREATE FUNCTION pg_toast_temp_dsql.writable_columns(rel oid, prefix text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT string_agg(prefix || quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' $$;

-- A FROM item `k` with the columns of the primary key, from keys in $1 as text[], and the condition
-- that joins it to `t`.
CREATE FUNCTION pg_toast_temp_dsql.key_source(rel oid, OUT source text, OUT condition text)
  LANGUAGE sql STABLE AS $$
    SELECT format('(SELECT %s FROM unnest($1) AS j(key)) AS k',
             string_agg(format('(j.key::json ->> %s)::%s AS c%s', n - 1,
               format_type(a.atttypid, a.atttypmod), n), ', ')),
           string_agg(format('t.%I = k.c%s', a.attname, n), ' AND ')
      FROM pg_catalog.pg_index i
     CROSS JOIN LATERAL generate_series(1, i.indnkeyatts::int) AS n
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n - 1]
     WHERE i.indrelid = rel AND i.indisprimary $$;

CREATE FUNCTION pg_toast_temp_dsql.table_name(rel oid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid = rel $$;

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
      t.rel, k.source, pg_toast_temp_dsql.table_name(t.rel), k.condition) USING t.keys;
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
  columns text;
  insertion text;
  found bigint;
BEGIN
  FOR t IN SELECT key::oid AS rel, value FROM json_each(changes) LOOP
    target := CASE WHEN to_shadow_tables
      THEN format('pg_temp.%I', (SELECT relname FROM pg_catalog.pg_class WHERE oid = t.rel))
      ELSE pg_toast_temp_dsql.table_name(t.rel) END;
    insertion := format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM (SELECT (i.image::%s).* FROM unnest($1) AS i(image)) r',
      target, pg_toast_temp_dsql.writable_columns(t.rel, ''), pg_toast_temp_dsql.writable_columns(t.rel, 'r.'),
      pg_toast_temp_dsql.table_name(t.rel));
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

-- Creates shadow tables: temporary copies of tables, and of those connected by foreign keys, in the
-- transaction's snapshot. They hide the tables by their names and are dropped at the end of the
-- transaction.
CREATE FUNCTION pg_toast_temp_dsql.create_shadow_tables(tables oid[]) RETURNS TABLE (schema_name name, table_name name)
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
  t record;
  c record;
BEGIN
  CREATE TEMP TABLE IF NOT EXISTS dsql_emulator_shadow_table (rel oid, is_new boolean) ON COMMIT DROP;
  UPDATE pg_temp.dsql_emulator_shadow_table SET is_new = false;
  INSERT INTO pg_temp.dsql_emulator_shadow_table
    WITH RECURSIVE reached AS (
      SELECT c.oid FROM pg_catalog.pg_class c
        JOIN pg_toast_temp_dsql.instrumented i ON i.rel = c.oid WHERE c.oid = ANY (tables)
      UNION
      SELECT CASE WHEN f.conrelid = r.oid THEN f.confrelid ELSE f.conrelid END
        FROM reached r JOIN pg_catalog.pg_constraint f
          ON f.contype = 'f' AND r.oid IN (f.conrelid, f.confrelid))
    SELECT r.oid, true FROM reached r
     WHERE r.oid NOT IN (SELECT s.rel FROM pg_temp.dsql_emulator_shadow_table s);
  FOR t IN SELECT s.rel, p.relname, pg_toast_temp_dsql.table_name(s.rel) AS name
             FROM pg_temp.dsql_emulator_shadow_table s JOIN pg_catalog.pg_class p ON p.oid = s.rel
            WHERE s.is_new
  LOOP
    EXECUTE format('CREATE TEMP TABLE %I (LIKE %s INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING GENERATED) ON COMMIT DROP',
      t.relname, t.name);
    EXECUTE format('INSERT INTO pg_temp.%I (%s) SELECT %s FROM %s', t.relname,
      pg_toast_temp_dsql.writable_columns(t.rel, ''), pg_toast_temp_dsql.writable_columns(t.rel, ''), t.name);
    -- An identity column uses the sequence of its table.
    FOR c IN SELECT a.attname, pg_get_serial_sequence(t.name, a.attname) AS sequence
               FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.rel AND a.attidentity <> ''
    LOOP
      EXECUTE format('ALTER TABLE pg_temp.%I ALTER COLUMN %I SET DEFAULT nextval(%L::regclass)',
        t.relname, c.attname, c.sequence);
    END LOOP;
    FOR c IN SELECT x.relname, i.indexrelid, i.indisprimary,
                    (SELECT o.conname FROM pg_catalog.pg_constraint o
                      WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u')) AS conname,
                    pg_get_indexdef_of_host(i.indexrelid) AS definition
               FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
              WHERE i.indrelid = t.rel AND i.indisunique AND i.indisvalid
    LOOP
      EXECUTE replace(c.definition, format(' ON %s ', t.name), format(' ON pg_temp.%I ', t.relname));
      IF c.conname IS NOT NULL THEN
        EXECUTE format('ALTER TABLE pg_temp.%I ADD CONSTRAINT %I %s USING INDEX %I', t.relname,
          c.conname, CASE WHEN c.indisprimary THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, c.relname);
      END IF;
    END LOOP;
    EXECUTE format('GRANT ALL ON pg_temp.%I TO PUBLIC', t.relname);
  END LOOP;
  -- Foreign keys come last, when every table has its unique indexes. Existing rows are not checked:
  -- they are consistent in the snapshot.
  FOR c IN SELECT f.conname, own.relname AS own, pg_get_constraintdef(f.oid) AS definition,
                  pg_toast_temp_dsql.table_name(f.confrelid) AS name, other.relname AS other
             FROM pg_catalog.pg_constraint f
             JOIN pg_catalog.pg_class own ON own.oid = f.conrelid
             JOIN pg_catalog.pg_class other ON other.oid = f.confrelid
             JOIN pg_temp.dsql_emulator_shadow_table s ON s.rel = f.conrelid AND s.is_new
            WHERE f.contype = 'f'
  LOOP
    EXECUTE format('ALTER TABLE pg_temp.%I ADD CONSTRAINT %I %s%s', c.own, c.conname,
      replace(c.definition, format('REFERENCES %s(', c.name), format('REFERENCES pg_temp.%I(', c.other)),
      CASE WHEN c.definition LIKE '% NOT VALID' THEN '' ELSE ' NOT VALID' END);
  END LOOP;
  RETURN QUERY
    SELECT n.nspname, c.relname FROM pg_temp.dsql_emulator_shadow_table s
      JOIN pg_catalog.pg_class c ON c.oid = s.rel
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE s.is_new;
END $$;

-- The tables that this transaction has locked: those of its statements, also behind views.
CREATE FUNCTION pg_toast_temp_dsql.locked_tables() RETURNS oid[] LANGUAGE sql AS $$
  SELECT array_agg(DISTINCT l.relation)
    FROM pg_catalog.pg_locks l JOIN pg_toast_temp_dsql.instrumented i ON i.rel = l.relation
   WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' $$;

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
  FOR item IN SELECT format(i.entries, 't') AS entries, pg_toast_temp_dsql.table_name(i.rel) AS table_name
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
    SELECT c.conname, own.relname AS own_name, pg_toast_temp_dsql.table_name(c.conrelid) AS own,
           pg_toast_temp_dsql.table_name(c.confrelid) AS other,
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
