//! Tests of the functions that are written in Rust, inside the server.

#[pgrx::pg_schema]
mod tests {
    use pgrx::Uuid;
    use pgrx::prelude::*;

    fn text(query: &str) -> Option<String> {
        Spi::get_one(query).unwrap()
    }

    fn truth(query: &str) -> bool {
        Spi::get_one::<bool>(query).unwrap().unwrap()
    }

    #[pg_test]
    fn keys_of_one_backend_are_in_the_order_of_creation() {
        let ids: Vec<Uuid> = Spi::connect(|client| {
            client
                .select("SELECT qsessions._find_session_id(qsessions.generate_key()) FROM generate_series(1, 1000)", None, &[])
                .unwrap()
                .map(|row| row.get::<Uuid>(1).unwrap().unwrap())
                .collect()
        });
        assert!(
            ids.windows(2)
                .all(|pair| pair[0].as_bytes() < pair[1].as_bytes())
        );
    }

    #[pg_test]
    fn a_key_for_an_id_has_that_id() {
        assert!(truth(
            "SELECT bool_and(qsessions._find_session_id(qsessions._generate_key_for(id)) = id)
             FROM (SELECT qsessions._find_session_id('some foreign key ' || n) AS id FROM generate_series(1, 100) AS n) AS ids"
        ));
    }

    #[pg_test]
    fn a_text_that_cannot_be_a_key_has_no_id() {
        for text in ["''", "'1234567'", "repeat('x', 513)", "NULL"] {
            assert!(
                truth(&format!(
                    "SELECT qsessions._find_session_id({text}) IS NULL AND qsessions._key_digest({text}) IS NULL"
                )),
                "{text}"
            );
        }
    }

    #[pg_test]
    fn digests_equal_sha256() {
        for text in ["'a foreign key'", "'ключ 😀 key'", "repeat('é', 512)"] {
            assert!(truth(&format!(
                "SELECT qsessions._key_digest({text}) = sha256(convert_to({text}, 'UTF8'))"
            )));
        }
    }

    #[pg_test]
    fn functions_return_changed_parameters() {
        for (setting, function) in [
            ("default_ttl", "_default_ttl"),
            ("touch_interval", "_touch_interval"),
        ] {
            for value in ["1 hour", "90 s", "1 mon 2 days 03:04:05", "1 hour"] {
                Spi::run(&format!("SET qsessions.{setting} = '{value}'")).unwrap();
                assert!(truth(&format!(
                    "SELECT qsessions.{function}() = interval '{value}'"
                )));
            }
        }
        Spi::run("SET qsessions.user_agent_max_length = 7; SET qsessions.max_data_bytes = '3kB'")
            .unwrap();
        assert!(truth(
            "SELECT qsessions._user_agent_max_length() = 7 AND qsessions._max_data_bytes() = 3072"
        ));
    }

    #[pg_test]
    fn the_size_of_data_is_the_size_before_compression() {
        Spi::run("CREATE TABLE kept AS SELECT to_jsonb(repeat('x', 100000)) AS data").unwrap();
        assert!(truth(
            "SELECT pg_column_size(data) < 10000 AND qsessions._data_size(data) = 100012 FROM kept"
        ));
        Spi::run("SET qsessions.max_data_bytes = 100011").unwrap();
        assert!(truth("SELECT NOT qsessions._data_fits(data) FROM kept"));
        Spi::run("SET qsessions.max_data_bytes = 100012").unwrap();
        assert!(truth("SELECT qsessions._data_fits(data) FROM kept"));
    }

    #[pg_test]
    fn addresses_with_short_and_long_headers_are_read() {
        // In a table, a short value has a header of one byte instead of four.
        Spi::run("CREATE TABLE kept AS SELECT unnest(ARRAY['192.0.2.1', '2001:db8::1/64', '10.0.0.0/8']::inet[]) AS ip").unwrap();
        for expression in ["country_code(ip)", "location(ip)", "location_info(ip)"] {
            assert!(truth(&format!(
                "SELECT bool_and(qsessions.{expression} IS NULL) FROM kept"
            )));
        }
    }

    #[pg_test]
    fn a_parsed_user_agent_has_its_row_type() {
        let row = text("SELECT pg_typeof(qsessions.parse_user_agent('curl/8.5.0'))::text");
        assert_eq!(row.as_deref(), Some("qsessions.user_agent_info"));
        let category = Spi::get_one_with_args::<String>(
            "SELECT (qsessions.parse_user_agent($1)).category",
            &["curl/8.5.0".into()],
        );
        assert_eq!(category.unwrap().as_deref(), Some("tool"));
        assert_eq!(text("SELECT qsessions.device('')").as_deref(), Some(""));
    }

    #[pg_test]
    fn reading_functions_take_no_transaction_id() {
        Spi::connect(|client| {
            let query = "SELECT qsessions._find_session_id('12345678'), qsessions._key_digest('12345678'),
                         qsessions._default_ttl(), qsessions.device('curl/8.5.0'), qsessions.location('::1'),
                         pg_current_xact_id_if_assigned() IS NULL";
            let row = client.select(query, Some(1), &[]).unwrap().first();
            assert_eq!(row.get::<bool>(6).unwrap(), Some(true));
        });
    }

    #[pg_test(error = "invalid value for parameter \"qsessions.default_ttl\": \"soon\"")]
    fn a_ttl_that_is_not_an_interval_is_refused() {
        Spi::run("SET qsessions.default_ttl = 'soon'").unwrap();
    }
}
