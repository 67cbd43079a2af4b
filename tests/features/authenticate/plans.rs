//! A policy calls `current_user_id()` once per statement, in parallel plans too, and gives the same
//! rows as a literal.

use super::{authenticate, run, two_sessions};
use crate::common::roles::new_role;
use crate::common::{Begun, failure, row, texts};
use qsessions_testkit::Database;
use tokio_postgres::Client;

/// Tables with policies of the current user; the same in other schemas with the user 7, or a null,
/// as a literal.
const TABLES: &str = "
    CREATE TABLE NAME.note (id int PRIMARY KEY, owner bigint, body text DEFAULT 'new', tag text);
    INSERT INTO NAME.note SELECT n, n % 10, 'body ' || n % 7, 'tag ' || n % 3 FROM generate_series(1, 600) AS n;
    CREATE TABLE NAME.page (id int, owner bigint, note int) PARTITION BY LIST (owner);
    CREATE TABLE NAME.page_low PARTITION OF NAME.page FOR VALUES IN (0, 1, 2, 3, 4);
    CREATE TABLE NAME.page_high PARTITION OF NAME.page DEFAULT;
    INSERT INTO NAME.page SELECT n, n % 10, n * 2 % 600 FROM generate_series(1, 200) AS n;
    CREATE TABLE NAME.old (age int) INHERITS (NAME.note);
    INSERT INTO NAME.old SELECT n, n % 10, 'old', 'tag 0', n FROM generate_series(3001, 3100) AS n;
    ANALYZE NAME.note, NAME.page, NAME.old;
    CREATE VIEW NAME.recent WITH (security_barrier) AS SELECT * FROM NAME.note WHERE id > 300;
    ALTER VIEW NAME.recent OWNER TO ROLE;
    ALTER TABLE NAME.note ENABLE ROW LEVEL SECURITY;
    ALTER TABLE NAME.page ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON NAME.note USING (owner = USER);
    CREATE POLICY own ON NAME.page USING (owner = USER OR EXISTS
        (SELECT FROM NAME.note AS n WHERE n.id = page.note AND n.owner = USER));
    CREATE FUNCTION NAME.mine() RETURNS SETOF NAME.note LANGUAGE sql STABLE AS 'SELECT * FROM NAME.note';
    GRANT USAGE ON SCHEMA NAME TO ROLE;
    GRANT ALL ON ALL TABLES IN SCHEMA NAME TO ROLE;";

/// A database with these tables for a role, a connection as that role, and sessions of the users 7
/// and 8.
async fn tables() -> (Database, Client, Begun, Begun) {
    let (database, admin, seven, eight) = two_sessions().await;
    let role = new_role(&database, &admin, "reader").await;
    run(&admin, &format!("SELECT qsessions.grant_access('{role}')")).await;
    for (name, user) in [
        ("asking", "qsessions.current_user_id()::bigint"),
        ("literal", "7"),
        ("no_user", "NULL::bigint"),
    ] {
        let tables = TABLES
            .replace("NAME", name)
            .replace("ROLE", &role)
            .replace("USER", user);
        run(&admin, &format!("CREATE SCHEMA {name}; {tables}")).await;
    }
    let client = database.connect_as(&role).await;
    (database, client, seven, eight)
}

/// Reads of the tables. `USER` is the call, or the literal.
const READS: &[&str] = &[
    "SELECT * FROM note ORDER BY id",
    "SELECT * FROM note WHERE id = 17",
    "SELECT * FROM ONLY note WHERE id BETWEEN 5 AND 50 ORDER BY id",
    "SELECT count(*), min(id), max(id) FROM note",
    "SELECT * FROM page ORDER BY id",
    "SELECT * FROM page WHERE owner = USER ORDER BY id",
    "SELECT * FROM recent ORDER BY id",
    "SELECT * FROM mine() ORDER BY id",
];

/// Statements that call the function themselves.
const CALLS: &[&str] = &[
    // The call in each place where an expression can be.
    "SELECT id, USER, USER + id FROM note WHERE owner = USER ORDER BY id, USER",
    "SELECT USER AS who, count(*) FILTER (WHERE id % 3 = USER % 3), sum(USER) FROM note GROUP BY USER",
    "SELECT USER, tag, count(*) FROM note GROUP BY GROUPING SETS ((USER), (tag, USER), ()) ORDER BY 1, 2, 3",
    "SELECT tag, count(*) FROM note GROUP BY tag HAVING count(*) > USER AND min(owner) = USER ORDER BY tag",
    "SELECT DISTINCT USER, owner FROM note",
    "SELECT DISTINCT ON (USER, tag) USER, tag, id FROM note ORDER BY USER, tag, id",
    "SELECT id, sum(id) OVER (PARTITION BY USER, tag ORDER BY id ROWS BETWEEN USER PRECEDING AND USER FOLLOWING)
     FROM note ORDER BY id",
    "SELECT id FROM note ORDER BY id LIMIT USER OFFSET USER",
    "SELECT id FROM note WHERE owner IN (VALUES (USER), (3)) AND owner = ANY (ARRAY[USER]) ORDER BY id",
    "SELECT n.id, v.x FROM note AS n JOIN (VALUES (USER), (9)) AS v (x) ON v.x = n.owner ORDER BY 1",
    "SELECT a.id, b.id FROM note AS a LEFT JOIN page AS b ON b.note = a.id AND b.owner = USER ORDER BY 1, 2",
    "SELECT a.id, b.who FROM note AS a LEFT JOIN (SELECT id, USER AS who FROM page) AS b ON b.id = a.id ORDER BY 1",
    "SELECT a.id, b.who FROM note AS a FULL JOIN (SELECT id, USER AS who FROM page OFFSET 0) AS b USING (id) ORDER BY 1, 2",
    "SELECT a.id, l.* FROM note AS a, LATERAL (SELECT p.id, a.owner + USER FROM page AS p WHERE p.id = a.id) AS l ORDER BY 1",
    "SELECT a.id, g FROM note AS a, generate_series(USER, USER + 2) AS g ORDER BY 1, 2",
    "SELECT a.id, g FROM note AS a, LATERAL generate_series(a.owner, USER) AS g ORDER BY 1, 2",
    "SELECT id, generate_series(1, USER) FROM note WHERE id < 100 ORDER BY 1, 2",
    "SELECT id FROM note AS a WHERE EXISTS (SELECT FROM page AS b WHERE b.note = a.id AND b.owner = USER) ORDER BY id",
    "SELECT id FROM note AS a WHERE id = 27 OR EXISTS (SELECT FROM page AS b WHERE b.note = a.id AND b.owner = USER)
     ORDER BY id",
    "SELECT id FROM note AS a WHERE id = 27 OR EXISTS (SELECT FROM page AS b WHERE b.note = a.id AND b.id % 10 = USER LIMIT USER)
     ORDER BY id",
    "SELECT id FROM note AS a WHERE EXISTS (SELECT FROM page AS b WHERE b.note = a.id LIMIT USER) ORDER BY id",
    "SELECT id FROM note AS a WHERE id NOT IN (SELECT note FROM page WHERE owner = USER) ORDER BY id",
    "SELECT id, (SELECT count(*) FROM page AS p WHERE p.owner = a.owner AND p.owner = USER) FROM note AS a ORDER BY id",
    "SELECT (SELECT sum(a.id) FILTER (WHERE a.owner = USER) FROM page LIMIT 1) FROM note AS a",
    "SELECT (SELECT (SELECT max(a.id + USER) FROM page LIMIT 1) FROM page LIMIT 1) FROM note AS a",
    "SELECT u.x FROM (SELECT USER AS x FROM note UNION ALL SELECT owner FROM page UNION ALL SELECT 1) AS u
     WHERE u.x = USER",
    "SELECT owner FROM note UNION SELECT USER FROM page EXCEPT SELECT 3",
    "WITH own AS MATERIALIZED (SELECT id, USER AS who FROM note) SELECT * FROM own WHERE who = USER ORDER BY id",
    "WITH own AS (SELECT id FROM note WHERE owner = USER) SELECT * FROM own JOIN own AS o USING (id) ORDER BY id",
    "WITH RECURSIVE chain AS (SELECT id FROM note WHERE id = USER
         UNION SELECT n.id FROM chain AS c JOIN note AS n ON n.id = c.id + 10 * USER / 7 WHERE n.owner = USER)
     SELECT * FROM chain ORDER BY id",
    "SELECT id FROM note TABLESAMPLE bernoulli (coalesce(USER, 7) * 100 / 7) ORDER BY id",
    "SELECT CASE WHEN id > 300 THEN USER WHEN owner = USER THEN -USER END FROM note ORDER BY id",
    "SELECT coalesce(nullif(USER, owner), 0), ROW(USER, id), ARRAY[USER, id] FROM note ORDER BY id",
    "SELECT id FROM note WHERE (owner, tag) = (USER, 'tag 1') AND owner BETWEEN USER AND USER ORDER BY id",
    "SELECT id FROM note WHERE owner = USER FOR UPDATE",
    "SELECT string_agg(tag, ',' ORDER BY id, USER), percentile_disc(0.5) WITHIN GROUP (ORDER BY id + USER) FROM note",
    // Writes.
    "INSERT INTO note (id, owner) VALUES (5001, USER), (5002, 7) RETURNING *, USER",
    "INSERT INTO note SELECT id + 10000, owner, body, tag FROM note WHERE owner = USER RETURNING id",
    "INSERT INTO note VALUES (7, USER, 'x', 'y') ON CONFLICT (id) DO UPDATE SET body = 'seen', owner = USER
     WHERE note.owner = USER RETURNING *",
    "INSERT INTO page VALUES (1, USER, 1) RETURNING tableoid::regclass::text LIKE '%high', owner",
    "UPDATE note SET body = 'by ' || USER WHERE id < 100 RETURNING *",
    "UPDATE note SET body = p.note::text FROM page AS p WHERE p.id = note.id AND p.owner = USER RETURNING note.*",
    "UPDATE page SET note = USER RETURNING *",
    "DELETE FROM note WHERE id < 200 RETURNING id, USER",
    "WITH gone AS (DELETE FROM note WHERE owner = USER RETURNING id) SELECT count(*), min(id) FROM gone",
    "WITH made AS (INSERT INTO note (id, owner) VALUES (5003, USER) RETURNING id, owner) SELECT owner, USER FROM made",
    "MERGE INTO note AS n USING (SELECT id, owner FROM page) AS p ON n.id = p.id AND p.owner = USER
     WHEN MATCHED AND n.owner = USER THEN UPDATE SET body = 'merged ' || USER
     WHEN NOT MATCHED AND p.id = USER THEN INSERT VALUES (p.id + 7000, USER)",
    // What the policy refuses.
    "INSERT INTO note (id, owner) VALUES (5004, 8)",
    "UPDATE note SET owner = 8 WHERE id = 17",
    "UPDATE page SET owner = 8, note = 8 WHERE id = 17",
];

/// The rows of a statement as text, and of the table after it; or the error.
async fn outcome(client: &Client, schema: &str, statement: &str) -> Result<String, String> {
    run(
        client,
        &format!("SAVEPOINT s; SET LOCAL search_path = {schema}, pg_catalog"),
    )
    .await;
    let mut outcome = Vec::new();
    let mut result = Ok(());
    for query in [
        statement,
        "SELECT count(*), sum(hashtext(n::text)) FROM ONLY note AS n",
    ] {
        match client.simple_query(query).await {
            Ok(messages) => outcome.extend(messages.iter().filter_map(|message| {
                match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => Some(
                        (0..row.len())
                            .map(|column| row.get(column).unwrap_or("null"))
                            .collect::<Vec<_>>()
                            .join("|"),
                    ),
                    _ => None,
                }
            })),
            Err(error) => {
                let error = error.as_db_error().expect("the server answers");
                result = Err(format!("{}: {}", error.code().code(), error.message()));
                break;
            }
        }
    }
    run(client, "ROLLBACK TO s").await;
    // Rows of statements without ORDER BY.
    if !statement.contains("ORDER BY") {
        outcome.sort();
    }
    result.map(|()| outcome.join("\n"))
}

async fn explain(client: &Client, schema: &str, statement: &str) -> String {
    run(
        client,
        &format!("SET LOCAL search_path = {schema}, pg_catalog"),
    )
    .await;
    texts(client, &format!("EXPLAIN (COSTS OFF, VERBOSE) {statement}"))
        .await
        .join("\n")
}

const CALL: &str = "qsessions.current_user_id()::bigint";

#[tokio::test]
async fn every_statement_gives_the_same_rows_as_with_a_literal() {
    let (_database, client, seven, _) = tables().await;
    run(&client, "BEGIN").await;
    authenticate(&client, &seven.key).await;
    let mut refused = 0;
    for statement in READS.iter().chain(CALLS) {
        let asked = outcome(&client, "asking", &statement.replace("USER", CALL)).await;
        let expected = outcome(&client, "literal", &statement.replace("USER", "7::bigint")).await;
        assert_eq!(asked, expected, "{statement}");
        refused += i32::from(asked.is_err_and(|error| error.starts_with("42501: new row")));
    }
    assert_eq!(refused, 3);
    run(&client, ALWAYS_PARALLEL).await;
    for statement in READS {
        let asked = outcome(&client, "asking", &statement.replace("USER", CALL)).await;
        let expected = outcome(&client, "literal", &statement.replace("USER", "7::bigint")).await;
        assert_eq!(asked, expected, "{statement}");
    }
}

#[tokio::test]
async fn without_a_session_every_statement_gives_the_same_rows_as_with_a_null() {
    let (_database, client, ..) = tables().await;
    run(&client, "BEGIN").await;
    for statement in READS.iter().chain(CALLS) {
        let asked = outcome(&client, "asking", &statement.replace("USER", CALL)).await;
        let null = statement.replace("USER", "NULL::bigint");
        assert_eq!(
            asked,
            outcome(&client, "no_user", &null).await,
            "{statement}"
        );
    }
    for table in ["note", "page", "recent", "mine()"] {
        let count: i64 = row(
            &client,
            &format!("SELECT count(*) FROM asking.{table}"),
            &[],
        )
        .await
        .get(0);
        assert_eq!(count, 0, "{table}");
    }
}

#[tokio::test]
async fn a_call_is_null_in_grouping_sets_that_do_not_have_it() {
    let (_database, client, seven, _) = tables().await;
    run(&client, "BEGIN; SET LOCAL search_path = asking, pg_catalog").await;
    authenticate(&client, &seven.key).await;
    run(
        &client,
        "CREATE FUNCTION pg_temp.plain() RETURNS text STABLE LANGUAGE plpgsql
         AS 'BEGIN RETURN 7; END'",
    )
    .await;
    let counts = async |call: &str, value: &str| -> (i64, i64, usize) {
        let from = format!("FROM note GROUP BY GROUPING SETS (({call}, tag), (tag))");
        let counted =
            format!("SELECT count(*), count(value) FROM (SELECT {value} AS value {from}) AS g");
        let counted = row(&client, &counted, &[]).await;
        let nulls = format!("SELECT tag {from} HAVING {value} IS NULL");
        (
            counted.get(0),
            counted.get(1),
            texts(&client, &nulls).await.len(),
        )
    };
    let (groups, values, _) = counts(CALL, CALL).await;
    assert_eq!((groups, values), (6, 3));
    // PostgreSQL 18 does not make every such call null, and treats these like any other.
    let plain = "pg_temp.plain()::bigint";
    for tail in ["", " + length(tag)", " + 1"] {
        assert_eq!(
            counts(CALL, &format!("{CALL}{tail}")).await,
            counts(plain, &format!("{plain}{tail}")).await,
            "{tail}"
        );
    }
    let sums = format!(
        "SELECT {CALL} + length(tag) FROM note GROUP BY GROUPING SETS (({CALL}, tag), (tag))"
    );
    let plan = explain(&client, "asking", &sums).await;
    // PostgreSQL 17 and later name the parameter "(InitPlan 1).col1".
    assert!(
        plan.contains(".owner = $0)") || plan.contains(".owner = (InitPlan 1).col1)"),
        "{plan}"
    );
}

#[tokio::test]
async fn a_statement_with_a_policy_calls_the_function_in_an_init_plan_only() {
    let (_database, client, seven, _) = tables().await;
    run(&client, "BEGIN").await;
    authenticate(&client, &seven.key).await;
    for statement in [
        "SELECT * FROM note",
        "SELECT * FROM page",
        "SELECT * FROM recent",
        "SELECT a.id FROM note AS a JOIN page AS b ON a.id = b.note",
        "SELECT id FROM note AS a WHERE id = 27 OR EXISTS (SELECT FROM page AS b WHERE b.note = a.id)",
        "UPDATE note SET body = ''",
        "DELETE FROM note",
        "INSERT INTO note SELECT id + 10000 FROM note",
    ] {
        let plan = explain(&client, "asking", statement).await;
        assert!(plan.contains("InitPlan"), "{plan}");
        let calls = plan.lines().filter(|line| line.contains("current_user_id"));
        for call in calls {
            assert!(
                call.trim() == "Output: (qsessions.current_user_id())::bigint",
                "{plan}"
            );
        }
    }
}

#[tokio::test]
async fn a_kept_plan_asks_again_at_each_execution() {
    let (_database, client, seven, eight) = tables().await;
    run(
        &client,
        "SET plan_cache_mode = force_generic_plan;
         PREPARE mine AS SELECT coalesce(string_agg(DISTINCT owner::text, ','), 'none') FROM asking.note",
    )
    .await;
    for (key, expected) in [
        (Some(&seven.key), "7"),
        (Some(&eight.key), "8"),
        (None, "none"),
        (Some(&seven.key), "7"),
    ] {
        run(&client, "BEGIN").await;
        if let Some(key) = key {
            authenticate(&client, key).await;
        }
        assert_eq!(texts(&client, "EXECUTE mine").await, [expected]);
        run(&client, "COMMIT").await;
    }
}

#[tokio::test]
async fn plpgsql_asks_again_in_each_statement() {
    let (_database, client, seven, eight) = tables().await;
    run(
        &client,
        &format!(
            "DO $$
             DECLARE
                 who text;
                 owners bigint[];
             BEGIN
                 FOR round IN 1..3 LOOP
                     FOR key, expected IN VALUES ('{}', 7), ('{}', 8), (NULL, NULL) LOOP
                         PERFORM FROM qsessions.authenticate(key);
                         who := qsessions.current_user_id();
                         ASSERT who IS NOT DISTINCT FROM expected::text;
                         IF qsessions.current_user_id()::bigint <> expected THEN
                             RAISE 'another user';
                         END IF;
                         owners := ARRAY(SELECT DISTINCT owner FROM asking.note);
                         ASSERT owners = array_remove(ARRAY[expected], NULL);
                     END LOOP;
                 END LOOP;
             END
             $$",
            seven.key, eight.key
        )
        .replace("DECLARE", "DECLARE key text; expected bigint;"),
    )
    .await;
}

#[tokio::test]
async fn a_cursor_and_copy_and_a_table_made_of_a_query_obey_the_policy() {
    let (_database, client, seven, _) = tables().await;
    run(&client, "BEGIN").await;
    authenticate(&client, &seven.key).await;
    run(
        &client,
        "DECLARE mine SCROLL CURSOR FOR SELECT owner::text FROM asking.note ORDER BY id;
         CREATE TEMP TABLE copied AS SELECT * FROM asking.note",
    )
    .await;
    for direction in ["FORWARD 3", "BACKWARD 2", "FORWARD ALL"] {
        let owners = texts(&client, &format!("FETCH {direction} FROM mine")).await;
        assert!(!owners.is_empty() && owners.iter().all(|owner| owner == "7"));
    }
    let owners = texts(&client, "SELECT DISTINCT owner::text FROM copied").await;
    assert_eq!(owners, ["7"]);
    let output = client
        .copy_out("COPY asking.note (owner) TO STDOUT")
        .await
        .unwrap();
    let lines: Vec<_> = futures_util::TryStreamExt::try_collect(output)
        .await
        .unwrap();
    let copied = lines.concat();
    assert_eq!(copied, b"7\n".repeat(60));
}

#[tokio::test]
async fn checks_defaults_and_triggers_may_call_it() {
    let (_database, client, seven, eight) = tables().await;
    run(
        &client,
        "CREATE DOMAIN pg_temp.own AS text CHECK (VALUE = qsessions.current_user_id());
         CREATE TEMP TABLE entry (
             author text DEFAULT qsessions.current_user_id() CHECK (author = qsessions.current_user_id()),
             again pg_temp.own DEFAULT qsessions.current_user_id(), version int DEFAULT 1);
         CREATE FUNCTION pg_temp.count_up() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN NEW.version := OLD.version + 1; RETURN NEW; END';
         CREATE TRIGGER count_up BEFORE UPDATE ON entry FOR EACH ROW
         WHEN (OLD.author = qsessions.current_user_id()) EXECUTE FUNCTION pg_temp.count_up();
         BEGIN",
    )
    .await;
    authenticate(&client, &seven.key).await;
    run(
        &client,
        "INSERT INTO entry DEFAULT VALUES; UPDATE entry SET version = version",
    )
    .await;
    let made = row(
        &client,
        "SELECT author, again::text, version FROM entry",
        &[],
    )
    .await;
    assert_eq!((made.get(0), made.get(1), made.get(2)), ("7", "7", 2));
    authenticate(&client, &eight.key).await;
    let refused = failure(&client, "INSERT INTO entry (author) VALUES ('7')", &[]).await;
    assert_eq!(refused.code, "23514");
}

const ALWAYS_PARALLEL: &str = "
    SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
    SET max_parallel_workers_per_gather = 2; SET enable_indexscan = off; SET enable_bitmapscan = off;
    SET enable_indexonlyscan = off";

#[tokio::test]
async fn a_parallel_plan_gives_the_same_rows_as_a_serial_one() {
    let (_database, client, seven, _) = tables().await;
    run(&client, ALWAYS_PARALLEL).await;
    // Only workers read the table.
    run(&client, "SET parallel_leader_participation = off; BEGIN").await;
    authenticate(&client, &seven.key).await;
    let plan = explain(&client, "asking", "SELECT count(*), sum(id) FROM note").await;
    // Workers get a value that the leader has computed.
    assert!(
        plan.contains("Params Evaluated") || plan.contains(".owner = (InitPlan 1).col1)"),
        "{plan}"
    );
    assert!(plan.contains("Parallel Seq Scan"), "{plan}");
    let counted = "SELECT count(*), sum(id) FROM asking.note";
    let parallel = row(&client, counted, &[]).await;
    run(&client, "SET max_parallel_workers_per_gather = 0").await;
    let serial = row(&client, counted, &[]).await;
    assert_eq!(parallel.get::<_, i64>(0), 70);
    for column in [0, 1] {
        assert_eq!(parallel.get::<_, i64>(column), serial.get::<_, i64>(column));
    }
}

#[tokio::test]
async fn a_parallel_worker_raises_an_error_rather_than_a_null() {
    let (_database, client, seven, _) = tables().await;
    run(&client, ALWAYS_PARALLEL).await;
    run(
        &client,
        "SET parallel_leader_participation = off;
         CREATE FUNCTION pg_temp.wrong() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE
         AS 'BEGIN RETURN qsessions.current_user_id(); END';
         BEGIN",
    )
    .await;
    authenticate(&client, &seven.key).await;
    let wrong = "SELECT count(*) FROM literal.note WHERE pg_temp.wrong() IS NULL";
    let raised = failure(&client, wrong, &[]).await;
    assert_eq!(raised.code, "25000", "{}", raised.message);
    assert_eq!(
        raised.message,
        "cannot read the current session in a parallel worker"
    );
    assert_eq!(
        raised.hint,
        "Declare the function that reads it PARALLEL RESTRICTED."
    );
}

#[tokio::test]
async fn an_expression_may_be_as_deep_as_without_a_policy() {
    let (_database, client, seven, _) = tables().await;
    run(&client, "BEGIN").await;
    authenticate(&client, &seven.key).await;
    for level in ["abs(", "(id - id + "] {
        let (opened, closed) = (level.repeat(2000), ")".repeat(2000));
        let statement = format!("SELECT count(*) FROM note WHERE {opened}owner{closed} = 7");
        let asked = outcome(&client, "asking", &statement).await;
        assert!(asked.is_ok(), "{asked:?}");
        assert_eq!(asked, outcome(&client, "literal", &statement).await);
    }
}

#[tokio::test]
async fn an_error_that_is_raised_while_a_query_is_planned_keeps_its_sqlstate() {
    let (_database, client, ..) = tables().await;
    run(
        &client,
        "CREATE FUNCTION pg_temp.refuse() RETURNS int LANGUAGE plpgsql IMMUTABLE
         AS 'BEGIN RAISE ''refused'' USING ERRCODE = ''SH001'', DETAIL = ''a detail''; END'",
    )
    .await;
    for table in ["asking.note", "literal.note"] {
        let statement = format!("SELECT FROM {table} WHERE id = pg_temp.refuse()");
        let refused = failure(&client, &statement, &[]).await;
        assert_eq!((&*refused.code, &*refused.detail), ("SH001", "a detail"));
    }
}
