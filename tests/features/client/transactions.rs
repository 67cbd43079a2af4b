//! The current session of a transaction.

use super::{address, pool, store};
use qsessions::{ClientHints, Key};

#[tokio::test]
async fn a_session_is_the_current_one_until_the_end_of_the_transaction() {
    let (database, store) = store().await;
    let login = store.login(1).await.unwrap();
    let mut connection = pool(&database).get().await.unwrap();
    let transaction = connection.transaction().await.unwrap();
    let within = store.on(&transaction);
    assert_eq!(within.current_user_id().await.unwrap(), None);
    let hints: ClientHints = [("Sec-CH-UA-Mobile", "?1")].into_iter().collect();
    let visit = within.authenticate(&login.key).ip(address("192.0.2.1"));
    let visit = visit.user_agent("curl/8.5.0").client_hints(&hints);
    let session = visit.await.unwrap().unwrap();
    assert_eq!(
        (session.id, session.ip),
        (login.id, Some(address("192.0.2.1")))
    );
    assert_eq!(session.user_agent.as_deref(), Some("curl/8.5.0"));
    let user_id = within.current_user_id().await.unwrap();
    assert_eq!(user_id.as_deref(), Some("1"));
    assert_eq!(within.current_session_id().await.unwrap(), Some(login.id));

    let dead = Key::from("a key that opens nothing");
    assert!(within.authenticate(&dead).await.unwrap().is_none());
    assert_eq!(within.current_user_id().await.unwrap(), None);
    assert!(within.authenticate(&login.key).await.unwrap().is_some());
    transaction.commit().await.unwrap();

    let next = connection.transaction().await.unwrap();
    assert_eq!(store.on(&next).current_user_id().await.unwrap(), None);
    assert_eq!(store.on(&next).current_session_id().await.unwrap(), None);
}

#[tokio::test]
async fn a_transaction_of_the_driver_has_a_current_session_too() {
    let (database, store) = store().await;
    let created = store.create().await.unwrap();
    let mut client = database.connect().await;
    let transaction = client.transaction().await.unwrap();
    let within = store.on(&transaction);
    assert!(within.authenticate(&created.key).await.unwrap().is_some());
    assert_eq!(within.current_session_id().await.unwrap(), Some(created.id));
    // An anonymous session has no user.
    assert_eq!(within.current_user_id().await.unwrap(), None);
}
