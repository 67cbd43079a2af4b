//! Where the application keeps the id of the user.

use qsessions::UserId;
use serde_json::Value;

use crate::data::Data;

/// The member in which axum-login keeps the user, unless it is configured otherwise.
pub(crate) const AXUM_LOGIN_DATA: &str = "axum-login.data";

/// The user that axum-login has written to the data of a session, under this data key.
///
/// The id has to be an integer or a text. If yours is something else, such as an object, pass a
/// function of your own to [`QsessionsStore::user_id`](crate::QsessionsStore::user_id).
///
/// ```
/// use std::collections::HashMap;
/// use qsessions_tower_sessions::axum_login_user;
/// use serde_json::json;
///
/// let login = json!({ "user_id": 42, "auth_hash": [1, 2, 3] });
/// let data = HashMap::from([("axum-login.data".to_owned(), login)]);
/// assert_eq!(axum_login_user(&data, "axum-login.data"), Some(42.into()));
/// ```
#[must_use]
pub fn axum_login_user(data: &Data, data_key: &str) -> Option<UserId> {
    match data.get(data_key)?.get("user_id")? {
        Value::String(id) => Some(id.into()),
        Value::Number(id) => Some(id.to_string().into()),
        _ => None,
    }
}
