//! The SQL of the extension, in the order a session lives. Each file says what it needs before it.

use pgrx::extension_sql_file;

extension_sql_file!("../../sql/schema.sql", name = "schema", bootstrap);
extension_sql_file!(
    "../../sql/invalidation.sql",
    name = "invalidation",
    requires = ["schema"]
);
extension_sql_file!("../../sql/table.sql", name = "table", requires = ["schema"]);
extension_sql_file!(
    "../../sql/checks.sql",
    name = "checks",
    requires = ["table"]
);
extension_sql_file!(
    "../../sql/create.sql",
    name = "create",
    requires = ["checks"]
);
extension_sql_file!("../../sql/load.sql", name = "load", requires = ["create"]);
extension_sql_file!("../../sql/cache.sql", name = "cache", requires = ["load"]);
extension_sql_file!("../../sql/save.sql", name = "save", requires = ["cache"]);
extension_sql_file!("../../sql/login.sql", name = "login", requires = ["save"]);
extension_sql_file!("../../sql/end.sql", name = "end", requires = ["login"]);
extension_sql_file!("../../sql/see.sql", name = "see", requires = ["end"]);
extension_sql_file!("../../sql/purge.sql", name = "purge", requires = ["see"]);
extension_sql_file!(
    "../../sql/schedule.sql",
    name = "schedule",
    requires = ["purge"]
);
extension_sql_file!(
    "../../sql/access.sql",
    name = "access",
    requires = ["schedule"]
);
extension_sql_file!("../../sql/finish.sql", name = "finish", finalize);

/// pgrx puts functions only into a schema that it knows. `schema.sql`, which comes before, has made it; the CREATE SCHEMA IF
/// NOT EXISTS that this adds finds it there.
#[pgrx::pg_schema]
mod qsessions {}
