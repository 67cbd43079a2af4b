//! What an application relies on without a database: that this compiles is most of the test.

use qsessions::deadpool_postgres::tokio_postgres::{Config, NoTls};
use qsessions::deadpool_postgres::{Manager, Pool, Transaction};
use qsessions::{
    Answer, ClientHints, Error, Executor, Expiry, Key, NewLogin, NewSession, Session, Store, Visit,
};

fn is_send<T: Send>(_: T) {}
fn can_be_shared<T: Send + Sync + Clone + 'static>() {}

/// Web frameworks spawn the tasks that handle requests.
#[expect(dead_code)]
fn calls_can_be_sent(store: &Store, transaction: &Transaction<'_>, key: &Key) {
    is_send(store.load(key));
    is_send(store.resume(key).into_future());
    is_send(store.save(key, [1]).into_future());
    is_send(store.create().data([1]).into_future());
    is_send(store.on(transaction).load(key));
    is_send(async move { store.on(transaction).create().await });
    is_send(async move { store.on(transaction).login(42).key(key).await });
    is_send(async move { store.on(transaction).authenticate(key).await });
}

#[expect(dead_code)]
async fn code_can_be_generic<E: Executor>(store: &Store<E>, key: &Key) -> Result<bool, Error> {
    let session: Option<Session> = store.resume(key).await?;
    Ok(session.is_some() && store.logout(key).await?)
}

#[expect(dead_code)]
fn an_answer_can_be_named<'a>(store: &'a Store, key: &'a Key) -> Answer<'a, Option<Session>> {
    store.resume(key).into_future()
}

#[test]
fn handles_and_results_can_be_shared() {
    can_be_shared::<Store<Pool>>();
    #[cfg(feature = "cache")]
    can_be_shared::<qsessions::CachedStore>();
    can_be_shared::<Session>();
    can_be_shared::<NewSession>();
    can_be_shared::<NewLogin>();
    can_be_shared::<ClientHints>();
    can_be_shared::<Visit>();
    #[cfg(feature = "purge")]
    is_send::<Option<qsessions::PurgeTask>>(None);
    can_be_shared::<Error>();
    can_be_shared::<Expiry>();
}

#[test]
fn debug_of_a_call_shows_neither_key_nor_data() {
    let pool = Pool::builder(Manager::new(Config::new(), NoTls));
    let store = Store::new(pool.build().unwrap());
    let (key, secret) = (Key::from("very-secret-key"), "secret data");
    for shown in [
        format!("{:?}", store.create().key(&key).data(secret)),
        format!("{:?}", store.login(1).key(&key).data(secret)),
        format!("{:?}", store.resume(&key)),
        format!("{:?}", store.save(&key, secret)),
        format!("{:?}", store.rotate_key(&key)),
        format!("{:?}", store.import(&key).data(secret)),
        format!("{:?}", Visit::new(&key).unwrap().user_agent(secret)),
        format!("{:?}", store.revoke_user_sessions(1).except(&key)),
    ] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}
