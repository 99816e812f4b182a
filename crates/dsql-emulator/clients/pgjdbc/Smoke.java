// pgjdbc. Its metadata lists the catalog.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;

public class Smoke {
  private static final String CREATE =
      "CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))";
  private static final String BALANCE = "SELECT balance FROM account WHERE id = 1";
  private static final String UPDATE = "UPDATE account SET balance = balance + 1 WHERE id = 1";

  public static void main(String[] args) throws Exception {
    Connection one = connect();
    Connection other = connect();
    check(one.getMetaData().getDatabaseMajorVersion(), 16);
    done("connect");

    run(one, CREATE);
    Thread.sleep(1200);
    done("create");

    try (var statement = one.prepareStatement("INSERT INTO account VALUES (?, ?, ?)")) {
      statement.setInt(1, 1);
      statement.setString(2, "ada");
      statement.setBigDecimal(3, new BigDecimal("10.50"));
      statement.addBatch();
      statement.setInt(1, 2);
      statement.setString(2, "grace");
      statement.setBigDecimal(3, null);
      statement.addBatch();
      check(statement.executeBatch().length, 2);
    }
    done("insert");

    // The fifth execution is the first one of a prepared statement of the server.
    String query = "SELECT owner, balance FROM account WHERE id = ?";
    try (var statement = one.prepareStatement(query)) {
      for (int n = 0; n < 10; n++) {
        statement.setInt(1, 1 + n % 2);
        String row = n % 2 == 0 ? "ada 10.50" : "grace null";
        check(list(statement.executeQuery()), List.of(row));
      }
    }
    done("select");

    one.setAutoCommit(false);
    run(one, "UPDATE account SET balance = 20 WHERE id = 1");
    one.commit();
    check(list(other, BALANCE), List.of("20.00"));
    done("commit");

    run(one, UPDATE);
    run(other, UPDATE);
    refused("40001", "OC000", one::commit);
    run(one, UPDATE);
    one.commit();
    check(list(other, BALANCE), List.of("22.00"));
    one.setAutoCommit(true);
    done("conflict");

    refused("0A000", "unsupported statement: Truncate", () -> run(one, "TRUNCATE account"));
    done("refused");

    String job = list(one, "CREATE INDEX ASYNC by_owner ON account (owner)").get(0);
    run(one, "CALL sys.wait_for_job('" + job + "')");
    String status = "SELECT status FROM sys.jobs WHERE job_id = '" + job + "'";
    check(list(one, status), List.of("completed"));
    done("index");

    var catalog = one.getMetaData();
    String[] types = {"TABLE"};
    check(names(catalog.getTables(null, "public", "%", types), "TABLE_NAME"), List.of("account"));
    List<String> columns = List.of("id", "owner", "balance");
    check(names(catalog.getColumns(null, "public", "account", null), "COLUMN_NAME"), columns);
    check(names(catalog.getPrimaryKeys(null, "public", "account"), "COLUMN_NAME"), List.of("id"));
    ResultSet indexes = catalog.getIndexInfo(null, "public", "account", false, true);
    check(names(indexes, "INDEX_NAME"), List.of("account_pkey", "by_owner"));
    check(names(catalog.getCatalogs(), "TABLE_CAT"), List.of("postgres"));
    done("catalog");

    try (Statement statement = one.createStatement()) {
      TimerTask cancel =
          new TimerTask() {
            @Override
            public void run() {
              try {
                statement.cancel();
              } catch (SQLException error) {
                throw new IllegalStateException(error);
              }
            }
          };
      Timer timer = new Timer(true);
      timer.schedule(cancel, 300);
      refused("57014", "cancel", () -> statement.execute("SELECT pg_sleep(30)"));
    }
    check(one.isValid(5), true);
    done("cancel");

    one.close();
    other.close();
    check(one.isClosed(), true);
    done("close");
  }

  private static Connection connect() throws SQLException {
    var environment = System.getenv();
    var properties = new Properties();
    properties.setProperty("user", environment.get("PGUSER"));
    properties.setProperty("password", environment.get("CLUSTER_TOKEN"));
    properties.setProperty("sslmode", "verify-full");
    properties.setProperty("sslrootcert", environment.get("PGSSLROOTCERT"));
    // Java sends the host name in TLS only if it has a dot. The file `hosts` has its address.
    String address = environment.get("CLUSTER_ENDPOINT") + ":" + environment.get("PGPORT");
    String url = "jdbc:postgresql://" + address + "/" + environment.get("PGDATABASE");
    return DriverManager.getConnection(url, properties);
  }

  private static void run(Connection connection, String sql) throws SQLException {
    try (var statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  private static List<String> list(Connection connection, String sql) throws SQLException {
    try (var statement = connection.createStatement()) {
      return list(statement.executeQuery(sql));
    }
  }

  /** The rows, each as its texts with spaces in between. */
  private static List<String> list(ResultSet rows) throws SQLException {
    List<String> read = new ArrayList<>();
    while (rows.next()) {
      List<String> row = new ArrayList<>();
      for (int column = 1; column <= rows.getMetaData().getColumnCount(); column++) {
        row.add(String.valueOf(rows.getString(column)));
      }
      read.add(String.join(" ", row));
    }
    return read;
  }

  private static List<String> names(ResultSet rows, String column) throws SQLException {
    List<String> read = new ArrayList<>();
    while (rows.next()) {
      read.add(rows.getString(column));
    }
    return read;
  }

  private interface Call {
    void run() throws SQLException;
  }

  private static void refused(String state, String message, Call call) {
    try {
      call.run();
    } catch (SQLException error) {
      check(error.getSQLState(), state);
      check(error.getMessage().contains(message), true);
      return;
    }
    throw new AssertionError("no error " + state + ": " + message);
  }

  private static void check(Object read, Object expected) {
    if (!read.equals(expected)) {
      throw new AssertionError("read " + read + ", expected " + expected);
    }
  }

  private static void done(String step) {
    System.out.println("ok " + step);
  }
}
