//! Changes that do not go through the store: plain SQL, and transactions of the application.

use std::time::SystemTime;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::attempt::{is_refused_by_server, patiently};
use super::keys::{rekeyed, some_grace};
use super::sessions::on_our_clock;
use super::{Call, Known, TWO_PHASES, USERS, Worker};
use crate::history::{Effect, KeyHash, Nanos, Outcome, Who, now};

type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The result of a statement.
pub(super) enum Ran {
    Rows(Vec<Row>),
    Refused,
    Unknown,
}

impl Worker {
    pub(super) async fn delete_by_sql(&self, rng: &mut Rng, known: &Known) {
        let call = self.call("DELETE of a session");
        let sql = "DELETE FROM qsessions.session WHERE id = $1";
        let ran = self.run(rng, sql, &[&known.id]).await;
        let effects = vec![Effect::Ended {
            who: Who::Session(known.id),
            except: None,
        }];
        self.note_run(rng, call, &ran, effects).await;
        self.look_again(rng, &[known]).await;
    }

    pub(super) async fn delete_user(&self, rng: &mut Rng) {
        let user = rng.i64(1..=USERS);
        self.delete_this_user(rng, user).await;
        let sql = "INSERT INTO users VALUES ($1) ON CONFLICT DO NOTHING";
        self.run(rng, sql, &[&user]).await;
    }

    /// Deletes a user, whose sessions the foreign key ends.
    pub(super) async fn delete_this_user(&self, rng: &mut Rng, user: i64) {
        let call = self.call("DELETE of a user");
        let ran = self
            .run(rng, "DELETE FROM users WHERE id = $1", &[&user])
            .await;
        let effects = match &ran {
            // A user that did not exist had no sessions.
            Ran::Rows(_) | Ran::Unknown => vec![Effect::Ended {
                who: Who::User(user),
                except: None,
            }],
            Ran::Refused => vec![],
        };
        self.note_run(rng, call, &ran, effects).await;
    }

    pub(super) async fn update_by_sql(&self, rng: &mut Rng, known: &Known) {
        let token = self.token();
        let call = self.call("UPDATE of data");
        let sql = "UPDATE qsessions.session SET data = data || $2, version = version + 1
                   WHERE id = $1 AND expires_at > now() RETURNING version";
        let data = json!({ "token": token });
        let ran = self.run(rng, sql, &[&known.id, &data]).await;
        let version = ran.first().map(|row| row.get(0));
        let id = known.id;
        let effects = match &ran {
            Ran::Rows(rows) if rows.is_empty() => vec![],
            _ => vec![Effect::Saved { id, version, token }],
        };
        self.note_run(rng, call, &ran, effects).await;
        self.look_again(rng, &[known]).await;
    }

    /// Shortens a fixed expiry. A sliding one would move again with the next visit.
    pub(super) async fn shorten_by_sql(&self, rng: &mut Rng, known: &Known) {
        let seconds = rng.f64() * 2.0;
        let earliest = now() + (seconds * 1e9) as Nanos;
        let call = self.call("UPDATE of expires_at");
        let sql = "UPDATE qsessions.session SET expires_at = now() + make_interval(secs => $2)
                   WHERE id = $1 AND expires_at > now() AND idle_timeout IS NULL RETURNING expires_at";
        let ran = self.run(rng, sql, &[&known.id, &seconds]).await;
        let at = ran.first().map_or(earliest, |row| {
            on_our_clock(Some(row.get::<_, SystemTime>(0)))
        });
        let effects = match &ran {
            Ran::Rows(rows) if rows.is_empty() => vec![],
            _ => vec![Effect::Expires { id: known.id, at }],
        };
        self.note_run(rng, call, &ran, effects).await;
        self.look_again(rng, &[known]).await;
    }

    pub(super) async fn truncate(&self, rng: &mut Rng) {
        let call = self.call("TRUNCATE");
        let ran = self.run(rng, "TRUNCATE qsessions.session", &[]).await;
        let effects = vec![Effect::Ended {
            who: Who::Everybody,
            except: None,
        }];
        self.note_run(rng, call, &ran, effects).await;
    }

    pub(super) async fn run(&self, rng: &mut Rng, sql: &str, arguments: Arguments<'_>) -> Ran {
        let rows = patiently(rng, async {
            let client = self.pool.get().await.ok()?;
            Some(client.query(sql, arguments).await)
        })
        .await;
        match rows.flatten() {
            Some(Ok(rows)) => Ran::Rows(rows),
            Some(Err(error)) if is_refused_by_server(&error) => Ran::Refused,
            _ => Ran::Unknown,
        }
    }

    /// Waits for the cache, which does not know of this change by itself.
    async fn note_run(&self, rng: &mut Rng, call: Call<'_>, ran: &Ran, effects: Vec<Effect>) {
        match ran {
            Ran::Rows(_) => {
                let end = now();
                let known = self.catch_up(rng).await;
                call.changed(Outcome::Done, end, known, effects);
            }
            Ran::Refused => call.refused(vec![]),
            Ran::Unknown => call.changed(Outcome::Unknown, now(), None, effects),
        }
    }

    pub(super) async fn transaction(&self, rng: &mut Rng, known: &Known) {
        let in_two_phases = self.can_prepare && rng.u32(0..3) == 0;
        let call = self.call(if in_two_phases {
            TWO_PHASES
        } else {
            "transaction"
        });
        let mut doing = Doing {
            in_two_phases,
            ..Doing::default()
        };
        let mut own = rng.fork();
        let done = patiently(rng, self.transact(&mut own, known, &mut doing)).await;
        match done {
            Some(Ok(true)) => {
                let end = now();
                let caught_up = self.catch_up(rng).await;
                call.changed(Outcome::Done, end, caught_up, doing.effects);
                if let Some(known) = doing.rekeyed {
                    self.keyring.publish(&known);
                    self.look_again(rng, &[&known]).await;
                }
            }
            _ if doing.is_committing => {
                call.changed(Outcome::Unknown, now(), None, doing.effects);
            }
            _ => call.refused(vec![]),
        }
        self.look_again(rng, &[known]).await;
    }

    /// Returns whether the transaction was committed.
    async fn transact(
        &self,
        rng: &mut Rng,
        known: &Known,
        doing: &mut Doing,
    ) -> Result<bool, qsessions::Error> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let store = self.store.on(&transaction);
        let (id, token) = (known.id, self.token());
        let data: Value = json!({ "token": token });
        let version = Some(store.patch(&known.key, data).await?);
        doing.effects.push(Effect::Saved { id, version, token });
        match rng.u32(0..4) {
            0 => {
                let grace = some_grace(rng);
                let key = store.rotate_key(&known.key).grace(grace).await?;
                doing.effects.extend(rekeyed(known, &key, grace));
                doing.rekeyed = Some(Known { key, id });
            }
            1 => {
                store.logout(&known.key).await?;
                let (who, except) = (Who::Session(id), None);
                doing.effects.push(Effect::Ended { who, except });
            }
            2 => {
                let wish = self.wish(rng);
                let created = wish.login(&store, known).await?;
                doing.effects.extend(wish.effects(known, &created));
                let (key, id) = (created.key, created.id);
                doing.rekeyed = Some(Known { key, id });
            }
            _ => {}
        }
        if rng.u32(0..5) == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        doing.is_committing = true;
        if doing.in_two_phases {
            let name = format!("{}-{token}", self.process);
            let prepare = format!("PREPARE TRANSACTION '{name}'");
            transaction.batch_execute(&prepare).await?;
            // For the client, which must not roll back; the server warns.
            transaction.commit().await?;
            let other = self.pool.get().await?;
            let commit = format!("COMMIT PREPARED '{name}'");
            other.batch_execute(&commit).await?;
        } else {
            transaction.commit().await?;
        }
        Ok(true)
    }
}

impl Ran {
    fn first(&self) -> Option<&Row> {
        match self {
            Self::Rows(rows) => rows.first(),
            _ => None,
        }
    }
}

/// The state of a transaction.
#[derive(Default)]
struct Doing {
    in_two_phases: bool,
    effects: Vec<Effect>,
    is_committing: bool,
    rekeyed: Option<Known>,
}

/// Creates many sessions of one user with one statement.
impl Worker {
    pub(super) async fn create_many(&self, rng: &mut Rng, user: i64, count: i32) -> Vec<Known> {
        let token = self.token();
        let call = self.call("many sessions by SQL");
        let sql = "SELECT c.key, c.id, c.expires_at FROM generate_series(1, $3::integer) AS n
                   CROSS JOIN LATERAL qsessions.create_session(user_id => $1::bigint,
                       data => jsonb_build_object('token', $2::bigint, 'n', n)) AS c";
        let arguments: Arguments<'_> = &[&user, &(token as i64), &count];
        let ran = self.run(rng, sql, arguments).await;
        let Ran::Rows(rows) = ran else {
            call.refused(vec![]);
            return vec![];
        };
        let (mut known, mut effects) = (Vec::new(), Vec::new());
        for row in &rows {
            let key = qsessions::Key::new(row.get::<_, String>(0));
            let (id, hash) = (row.get(1), KeyHash::of(key.expose()));
            let (version, at) = (Some(1), on_our_clock(Some(row.get(2))));
            effects.push(Effect::KeyBegan { id, key: hash });
            effects.push(Effect::Saved { id, version, token });
            effects.push(Effect::Expires { id, at });
            effects.push(Effect::Owned { id, user });
            known.push(Known { key, id });
        }
        call.changed(Outcome::Done, now(), None, effects);
        known
    }
}
