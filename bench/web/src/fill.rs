//! The sessions, and the cookies that open them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use qsessions::Store;
use qsessions_tower_sessions::QsessionsStore;
use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};

use crate::layers::{pool, tower_store};
use crate::{Result, setting};

const TTL: Duration = Duration::from_secs(14 * 24 * 3600);

/// Makes the same sessions for each kind of store, and writes files with a cookie in each line.
pub(crate) async fn fill(folder: &Path) -> Result<()> {
    let count: i64 = setting("BENCH_SESSIONS")?.parse()?;
    let data: HashMap<String, Value> = serde_json::from_str(&setting("BENCH_DATA")?)?;
    let store = Store::new(pool()?);
    let mut keys = Vec::new();
    for user in 1..=count {
        let session = store.create().user(user).data(&data).ttl(TTL).await?;
        keys.push(session.key.expose().to_owned());
    }
    write(folder, "qsessions", &keys)?;
    write(
        folder,
        "qsessions-tower",
        &records(&QsessionsStore::new(store), &data, count).await?,
    )?;
    let tower = tower_store().await?;
    tower.migrate().await?;
    write(folder, "tower", &records(&tower, &data, count).await?)
}

/// Sessions that a store of tower-sessions makes.
async fn records(
    store: &impl SessionStore,
    data: &HashMap<String, Value>,
    count: i64,
) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let mut record = Record {
            id: Id::default(),
            data: data.clone(),
            expiry_date: OffsetDateTime::now_utc() + TTL,
        };
        store.create(&mut record).await?;
        ids.push(record.id.to_string());
    }
    Ok(ids)
}

fn write(folder: &Path, name: &str, cookies: &[String]) -> Result<()> {
    Ok(fs::write(folder.join(name), cookies.join("\n") + "\n")?)
}
