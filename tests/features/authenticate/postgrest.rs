//! The functions of docs/postgrest.md, with the statements that PostgREST 14.17 sends.
//!
//! PostgREST sends each of them with parameters, in a transaction for each request.

use super::run;
use crate::common::{begin, row};
use qsessions_testkit::Server;
use serde_json::{Value, json};
use tokio_postgres::{Client, Error};

const SET: &str = "select set_config('search_path', $1, true), set_config('role', $2, true), \
     set_config('request.jwt.claims', $3, true), set_config('request.method', $4, true), \
     set_config('request.path', $5, true), set_config('request.headers', $6, true), \
     set_config('request.cookies', $7, true)";
const PRE_REQUEST: &str = r#"select "auth"."pre_request"()"#;
const RESULT: &str = "coalesce(json_agg(_postgrest_t), '[]') AS body, \
     nullif(current_setting('response.headers', true), '') AS response_headers, \
     nullif(current_setting('response.status', true), '') AS response_status";

/// The main query of `GET /note`.
fn read_notes() -> String {
    format!(
        r#"WITH pgrst_source AS ( SELECT "api"."note".* FROM "api"."note" )  SELECT null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, {RESULT}, '' AS response_inserted FROM ( SELECT * FROM pgrst_source ) _postgrest_t"#
    )
}

/// The main query of `POST /note`.
fn add_note() -> String {
    format!(
        r#"WITH pgrst_source AS (INSERT INTO "api"."note"("body") SELECT "pgrst_body"."body" FROM (SELECT $1::json AS json_data) pgrst_payload, LATERAL (SELECT "body" FROM json_to_record(pgrst_payload.json_data) AS _("body" text) ) pgrst_body RETURNING "api"."note".*) SELECT '' AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, array[]::text[] AS header, {RESULT}, '' AS response_inserted FROM (SELECT "note".* FROM pgrst_source AS "note") _postgrest_t"#
    )
}

/// The main query of `POST /rpc/login` and other functions with arguments of type text.
fn call(function: &str, arguments: &[&str]) -> String {
    let columns: Vec<_> = arguments
        .iter()
        .map(|name| format!(r#""{name}""#))
        .collect();
    let typed: Vec<_> = columns.iter().map(|name| format!("{name} text")).collect();
    let passed: Vec<_> = columns
        .iter()
        .map(|name| format!("{name} := pgrst_body.{name}"))
        .collect();
    let from = match arguments {
        [] => format!(r#"(SELECT "api"."{function}"() pgrst_scalar) pgrst_call"#),
        _ => format!(
            r#"(SELECT $1::json AS json_data) pgrst_payload, LATERAL (SELECT {columns} FROM json_to_record(pgrst_payload.json_data) AS _({typed}) LIMIT 1) pgrst_body , LATERAL (SELECT "api"."{function}"({passed}) pgrst_scalar) pgrst_call"#,
            columns = columns.join(", "),
            typed = typed.join(", "),
            passed = passed.join(", ")
        ),
    };
    format!(
        r#"WITH pgrst_source AS (SELECT pgrst_call.pgrst_scalar FROM {from}) SELECT null::bigint AS total_result_set, 1 AS page_total, {RESULT}, '' AS response_inserted FROM (SELECT "{function}".* FROM pgrst_source AS "{function}") _postgrest_t"#
    )
}

/// What PostgREST answers.
#[derive(Debug, PartialEq)]
struct Answer {
    body: Value,
    set_cookie: Option<String>,
}

struct PostgRest(Client);

impl PostgRest {
    /// A request that reads, with a cookie.
    async fn get(&self, path: &str, query: &str, cookie: Option<&str>) -> Result<Answer, Error> {
        self.request("GET", path, query, None, cookie).await
    }

    async fn post(
        &self,
        path: &str,
        query: &str,
        payload: Value,
        cookie: Option<&str>,
    ) -> Result<Answer, Error> {
        self.request("POST", path, query, Some(payload), cookie)
            .await
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        query: &str,
        payload: Option<Value>,
        cookie: Option<&str>,
    ) -> Result<Answer, Error> {
        let mode = if method == "GET" {
            "READ ONLY"
        } else {
            "READ WRITE"
        };
        run(
            &self.0,
            &format!("BEGIN ISOLATION LEVEL READ COMMITTED {mode}"),
        )
        .await;
        let answer = self.within(method, path, query, payload, cookie).await;
        let end = if answer.is_ok() { "COMMIT" } else { "ABORT" };
        run(&self.0, end).await;
        answer
    }

    async fn within(
        &self,
        method: &str,
        path: &str,
        query: &str,
        payload: Option<Value>,
        cookie: Option<&str>,
    ) -> Result<Answer, Error> {
        let headers =
            json!({"user-agent": "Mozilla/5.0", "x-real-ip": "192.0.2.7", "host": "shop.example"});
        let cookies = match cookie {
            Some(key) => json!({"__Host-session": key, "theme": "dark"}),
            None => json!({}),
        };
        let claims = json!({"role": "web_anon"});
        let (headers, cookies, claims) =
            (headers.to_string(), cookies.to_string(), claims.to_string());
        self.0
            .query(
                SET,
                &[
                    &r#""api", "public""#,
                    &"web_anon",
                    &claims,
                    &method,
                    &path,
                    &headers,
                    &cookies,
                ],
            )
            .await?;
        self.0.query(PRE_REQUEST, &[]).await?;
        let row = match &payload {
            Some(payload) if query.contains("$1") => self.0.query_one(query, &[payload]).await?,
            _ => self.0.query_one(query, &[]).await?,
        };
        let headers: Option<String> = row.get("response_headers");
        let headers: Value = headers.map_or(json!([]), |text| text.parse().unwrap());
        let set_cookie = headers
            .as_array()
            .unwrap()
            .iter()
            .find_map(|header| header["Set-Cookie"].as_str());
        Ok(Answer {
            body: row.get("body"),
            set_cookie: set_cookie.map(str::to_owned),
        })
    }
}

/// The SQL of the page before its example of a request.
fn documented() -> String {
    let page = include_str!("../../../docs/postgrest.md");
    let (setup, _) = page.split_once("## What a request does").unwrap();
    let blocks = setup.split("```sql\n").skip(1);
    blocks
        .map(|block| block.split_once("\n```").unwrap().0)
        .collect::<Vec<_>>()
        .join("\n")
}

async fn set_up() -> (Server, Client, PostgRest) {
    let server = Server::builder().start().await.unwrap();
    let admin = server.connect("postgres").await.unwrap();
    run(&admin, "CREATE EXTENSION qsessions").await;
    run(&admin, &documented()).await;
    run(
        &admin,
        "INSERT INTO auth.users (email, password)
         SELECT name || '@example.com', auth.crypt(name, auth.gen_salt('bf', 4)) FROM unnest('{ada,bob}'::text[]) AS name",
    )
    .await;
    let config = server.config("postgres").user("authenticator").clone();
    let client = qsessions_testkit::connect(&config).await.unwrap();
    (server, admin, PostgRest(client))
}

async fn log_in(rest: &PostgRest, name: &str, cookie: Option<&str>) -> String {
    let payload = json!({"email": format!("{name}@example.com"), "password": name});
    let login = call("login", &["email", "password"]);
    let answer = rest
        .post("/rpc/login", &login, payload, cookie)
        .await
        .unwrap();
    let cookie = answer.set_cookie.unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/; Max-Age=1209600; HttpOnly; Secure; SameSite=Lax"
    );
    pair.strip_prefix("__Host-session=").unwrap().to_owned()
}

#[tokio::test]
async fn a_browser_logs_in_works_and_logs_out() {
    let (_server, admin, rest) = set_up().await;
    let refused = rest.get("/note", &read_notes(), None).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501");

    let (ada, bob) = (
        log_in(&rest, "ada", None).await,
        log_in(&rest, "bob", None).await,
    );
    for (key, body) in [(&ada, "of ada"), (&bob, "of bob")] {
        let added = rest
            .post("/note", &add_note(), json!({"body": body}), Some(key))
            .await;
        assert_eq!(added.unwrap().body[0]["body"], body);
    }
    for (key, owner, body) in [
        (&ada, 1, "of ada"),
        (&bob, 2, "of bob"),
        (&ada, 1, "of ada"),
    ] {
        let notes = rest
            .get("/note", &read_notes(), Some(key))
            .await
            .unwrap()
            .body;
        assert_eq!(notes.as_array().unwrap().len(), 1, "{notes}");
        assert_eq!(
            (&notes[0]["owner"], &notes[0]["body"]),
            (&json!(owner), &json!(body))
        );
    }
    let seen: i64 = row(
        &admin,
        "SELECT count(*) FROM qsessions.session WHERE ip = '192.0.2.7' AND user_agent = 'Mozilla/5.0'",
        &[],
    )
    .await
    .get(0);
    assert_eq!(seen, 2);

    let out = rest
        .post("/rpc/logout", &call("logout", &[]), json!({}), Some(&ada))
        .await;
    let cookie = out.unwrap().set_cookie.unwrap();
    assert!(
        cookie.starts_with("__Host-session=; Path=/; Max-Age=0;"),
        "{cookie}"
    );
    let refused = rest
        .get("/note", &read_notes(), Some(&ada))
        .await
        .unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501");
    assert!(rest.get("/note", &read_notes(), Some(&bob)).await.is_ok());
}

#[tokio::test]
async fn a_login_replaces_the_key_and_a_wrong_password_changes_nothing() {
    let (_server, admin, rest) = set_up().await;
    let visitor = begin(&admin, "data => '{\"cart\": [1]}'").await;
    let login = call("login", &["email", "password"]);
    let wrong = json!({"email": "ada@example.com", "password": "bob"});
    let refused = rest
        .post("/rpc/login", &login, wrong, Some(&visitor.key))
        .await
        .unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "28P01");
    let key = log_in(&rest, "ada", Some(&visitor.key)).await;
    assert_ne!(key, visitor.key);
    let kept = row(
        &admin,
        "SELECT id, user_id, data FROM qsessions.load_session($1)",
        &[&key],
    )
    .await;
    assert_eq!(kept.get::<_, uuid::Uuid>("id"), visitor.id);
    assert_eq!(kept.get::<_, &str>("user_id"), "1");
    assert_eq!(kept.get::<_, Value>("data"), json!({"cart": [1]}));
}

#[tokio::test]
async fn a_request_that_reads_records_no_visit_and_one_that_writes_does() {
    let (_server, admin, rest) = set_up().await;
    let session = begin(
        &admin,
        "user_id => (SELECT min(id) FROM auth.users), ip => '192.0.2.1'",
    )
    .await;
    let ip = "SELECT host(ip) FROM qsessions.session";
    rest.get("/note", &read_notes(), Some(&session.key))
        .await
        .unwrap();
    assert_eq!(row(&admin, ip, &[]).await.get::<_, &str>(0), "192.0.2.1");
    let touched = rest
        .post(
            "/rpc/touch",
            &call("touch", &[]),
            json!({}),
            Some(&session.key),
        )
        .await;
    assert_eq!(touched.unwrap().body, json!([{"pgrst_scalar": true}]));
    assert_eq!(row(&admin, ip, &[]).await.get::<_, &str>(0), "192.0.2.7");
}

#[tokio::test]
async fn the_roles_of_requests_cannot_reach_the_session_table() {
    let (_server, admin, rest) = set_up().await;
    begin(&admin, "user_id => (SELECT min(id) FROM auth.users)").await;
    for role in ["web_anon", "web_user"] {
        run(&rest.0, &format!("SET ROLE {role}")).await;
        for statement in [
            "SELECT FROM qsessions.session",
            "SELECT qsessions.create_session(user_id => 1)",
            "SELECT auth.set_cookie('key', 1)",
        ] {
            let refused = crate::common::failure(&rest.0, statement, &[]).await;
            assert_eq!(refused.code, "42501", "{statement}");
        }
        run(&rest.0, "RESET ROLE").await;
    }
}
