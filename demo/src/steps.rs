//! The steps of the demo.

use std::time::{Duration, SystemTime};

use qsessions::deadpool_postgres::Pool;
use qsessions::{Error, Key, Session, Store, Uuid};
use serde_json::json;

use crate::print::{self, Countdown, quote, say};
use crate::server::{DemoServer, OWNER};
use crate::wait::{PATIENCE, seconds_of_the_minute, until};
use qsessions_demo::people::{PEOPLE, Person, Visit};
use qsessions_testkit::Result;

pub(crate) struct Demo {
    /// Connects as the owner of the tables, who also changes the users.
    owner: Pool,
    /// Connects as the application, whose role may use sessions and nothing else.
    store: Store,
    app: Pool,
    users: Vec<User>,
}

struct User {
    id: i64,
    person: &'static Person,
    /// The cookies of their devices, in the order of the person's visits.
    cookies: Vec<Cookie>,
}

struct Cookie {
    id: Uuid,
    key: Key,
}

impl User {
    /// The key on the device that they use now.
    fn current(&self) -> &Key {
        &self.cookies[0].key
    }
}

impl Demo {
    pub(crate) async fn set_up(server: &DemoServer) -> Result<Self> {
        let owner = server.pool(OWNER)?;
        let client = owner.get().await?;
        client
            .batch_execute(
                "CREATE EXTENSION qsessions;
                 CREATE TABLE users (
                     id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                     name text NOT NULL);
                 CREATE ROLE app LOGIN;",
            )
            .await?;
        let mut users = Vec::new();
        for person in &PEOPLE {
            let sql = "INSERT INTO users (name) VALUES ($1) RETURNING id";
            let row = client.query_one(sql, &[&person.name]).await?;
            let cookies = Vec::new();
            users.push(User {
                id: row.get(0),
                person,
                cookies,
            });
        }
        say("The demo creates the extension in the database `demo`, and a typical table of users:");
        quote("CREATE EXTENSION qsessions;");
        quote("CREATE TABLE users (id bigint … PRIMARY KEY, name text NOT NULL);");
        quote("SELECT qsessions.create_session_table('users');");
        quote("SELECT qsessions.grant_access('app');");
        quote("SELECT qsessions.schedule_purge('* * * * *');");

        let store = Store::new(owner.clone());
        store.create_session_table().users("users").await?;
        store.grant_access("app").await?;
        store.schedule_purge("* * * * *").await?;
        say(
            "The session table belongs to the caller and has a real foreign key to the users. The \
             following steps run as the role `app`, which can only use sessions. pg_cron will purge \
             expired sessions once a minute.",
        );

        let app = server.pool("app")?;
        let store = Store::new(app.clone());
        Ok(Self {
            owner,
            store,
            app,
            users,
        })
    }

    pub(crate) async fn log_everybody_in(&mut self) -> Result {
        for user in &mut self.users {
            for visit in &user.person.visits {
                // Each of them was an anonymous visitor first, with something in the cart.
                let anonymous = self.store.create().data(json!({ "cart": ["book"] }));
                let before = anonymous.await?;
                let session = self
                    .store
                    .login(user.id)
                    .key(&before.key)
                    .ip(visit.ip())
                    .user_agent(visit.user_agent)
                    .await?;
                if self.store.exists(&before.key).await? || session.id != before.id {
                    return Err("a login must change the key of a session and nothing else".into());
                }
                user.cookies.push(Cookie {
                    id: session.id,
                    key: session.key,
                });
            }
        }
        self.age_sessions().await?;
        say(
            "Each user visits from four devices, puts a book into the cart, and logs in. The login \
             keeps the session with its cart and always changes the key, so that a key that an \
             attacker has set in the browser before the login is worthless. The cookie contains the \
             key; the table stores only its SHA-256.",
        );
        say(
            "The device comes from the User-Agent, and the location from the IPv4 or IPv6 address. \
             (All logins happened within the last second. The demo moved most of them into the past \
             with an UPDATE, because the session table is an ordinary table.)",
        );
        Ok(())
    }

    async fn age_sessions(&self) -> Result {
        let client = self.owner.get().await?;
        let ago = |duration: Duration| SystemTime::now() - duration;
        for user in &self.users {
            for (Visit { since, seen, .. }, cookie) in user.person.visits.iter().zip(&user.cookies)
            {
                let sql = "UPDATE qsessions.session SET created_at = $2, authenticated_at = $2, \
                           updated_at = $2, last_seen_at = $3 WHERE id = $1";
                client
                    .execute(sql, &[&cookie.id, &ago(*since), &ago(*seen)])
                    .await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn show_everybody(&self) -> Result {
        for user in &self.users {
            self.show(user).await?;
        }
        Ok(())
    }

    async fn show(&self, user: &User) -> Result {
        let sessions = self
            .store
            .user_sessions(user.id)
            .current(user.current())
            .await?;
        print::sessions(
            &format!("Active sessions of {}", user.person.name),
            &sessions,
        );
        Ok(())
    }

    pub(crate) async fn change_from_two_connections(&self) -> Result {
        let [ada, ..] = &self.users[..] else {
            unreachable!()
        };
        let key = ada.current();
        let before = self.loaded(key).await?;

        let mut connection = self.app.get().await?;
        let transaction = connection.transaction().await?;
        let change = json!({ "theme": "dark" });
        self.store.on(&transaction).patch(key, change).await?;
        say("One connection sets the theme and has not committed yet.");

        let other = tokio::spawn({
            let (store, key) = (self.store.clone(), key.clone());
            async move { store.patch(&key, json!({ "cart": ["book", "lamp"] })).await }
        });
        until("the other connection waits", PATIENCE, || {
            self.a_backend_waits()
        })
        .await?;
        say("Another connection puts a lamp into the cart. It waits for the first one.");

        transaction.commit().await?;
        other.await??;
        let after = self.loaded(key).await?;
        say("When the first connection commits, the other continues. Neither change is lost:");
        quote(&format!("{}  (version {})", after.data, after.version));

        let stale = self.store.save(key, json!({}));
        match stale.expected_version(before.version).await {
            Err(error @ Error::VersionConflict) => {
                say(
                    "A save that replaces all data can name the version that it expects. With the \
                     version before both changes, it fails:",
                );
                quote(&error.to_string());
                Ok(())
            }
            other => {
                Err(format!("a save with an old version must fail, but returned {other:?}").into())
            }
        }
    }

    async fn a_backend_waits(&self) -> Result<bool> {
        let client = self.owner.get().await?;
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity
                   WHERE usename = 'app' AND wait_event_type = 'Lock')";
        Ok(client.query_one(sql, &[]).await?.get(0))
    }

    pub(crate) async fn rotate_a_key(&mut self) -> Result {
        let cookie = &mut self.users[0].cookies[0];
        let old = cookie.key.clone();
        cookie.key = self.store.rotate_key(&old).await?;
        let key = cookie.key.clone();
        let session = self.loaded(&key).await?;
        self.expect_dead(&old).await?;
        say(
            "For example after a change of password, Ada's browser gets a new key for its session.",
        );
        quote("old key: no session");
        quote(&format!(
            "new key: session {}, {}",
            session.id, session.data
        ));
        Ok(())
    }

    pub(crate) async fn revoke_one_session(&self) -> Result {
        let mateo = &self.users[1];
        let lost = &mateo.cookies[2];
        say(
            "Mateo has left an iPad on a train. A page lists Mateo's sessions, with a button for \
             each one that sends the session's public id, which is not a secret:",
        );
        let sessions = self.store.user_sessions(mateo.id).await?;
        let device = sessions
            .iter()
            .find(|session| session.id == lost.id)
            .and_then(|session| session.device.as_deref())
            .ok_or("the session ended before it was revoked")?;
        quote(&format!("revoke {} ({device})", lost.id));
        if !self.store.revoke_for_user(lost.id, mateo.id).await? {
            return Err("there was no session to revoke".into());
        }
        self.expect_dead(&lost.key).await?;
        say(
            "From the commit on, its key is dead. A request that was in progress cannot bring the \
             session back:",
        );
        match self.store.save(&lost.key, json!({})).await {
            Err(error @ Error::SessionNotFound) => quote(&error.to_string()),
            other => {
                return Err(format!(
                    "a save of a revoked session must fail, but returned {other:?}"
                )
                .into());
            }
        }
        self.show(mateo).await
    }

    pub(crate) async fn log_out_everywhere_else(&self) -> Result {
        let thandi = &self.users[2];
        let ended = self
            .store
            .revoke_user_sessions(thandi.id)
            .except(thandi.current())
            .await?;
        say(&format!(
            "Thandi does not recognize the curl in Stockholm, and ends all sessions except the \
             current one: {ended} sessions end.",
        ));
        self.show(thandi).await
    }

    pub(crate) async fn delete_a_user(&self) -> Result {
        let mateo = &self.users[1];
        let before = self.store.user_sessions(mateo.id).await?.len();
        let client = self.owner.get().await?;
        client
            .execute("DELETE FROM users WHERE id = $1", &[&mateo.id])
            .await?;
        let after = self.store.user_sessions(mateo.id).await?.len();
        self.expect_dead(mateo.current()).await?;
        quote("DELETE FROM users WHERE name = 'Mateo';");
        say(&format!(
            "The foreign key deletes the sessions too: there were {before}, now there are {after}. \
             The application needs no code for that.",
        ));
        Ok(())
    }

    pub(crate) async fn let_sessions_expire(&self) -> Result {
        const CRAWLERS: usize = 100;
        let mut last = None;
        for _ in 0..CRAWLERS {
            let short = self.store.create().ttl(Duration::from_secs(1));
            last = Some(short.await?);
        }
        let last = last.ok_or("no session was created")?;
        say(&format!(
            "{CRAWLERS} crawlers get sessions that expire after one second.",
        ));
        until("they expire", PATIENCE, || async {
            Ok(!self.store.exists(&last.key).await?)
        })
        .await?;
        say("Now these sessions are dead. Their rows remain until a purge:");
        let stats = self.store.stats().await?;
        quote(&format!(
            "active: {}, expired: {}",
            stats.active, stats.expired
        ));
        Ok(())
    }

    pub(crate) async fn wait_for_the_purge(&self, server: &DemoServer) -> Result {
        let to_the_minute = Duration::from_secs(60 - seconds_of_the_minute());
        say(&format!(
            "pg_cron starts jobs at the beginning of a minute. The next one begins in {} seconds:",
            to_the_minute.as_secs(),
        ));
        let mut countdown = Countdown::new(to_the_minute);
        let purged = until("pg_cron purges", to_the_minute + PATIENCE, || {
            countdown.draw();
            async { Ok(self.store.stats().await?.expired == 0) }
        })
        .await;
        countdown.end();
        purged?;
        let (command, status) = last_run(server).await?;
        say("The rows are deleted. cron.job_run_details shows the run:");
        quote(&format!("{command}  {status}"));
        Ok(())
    }

    pub(crate) async fn show_what_is_left(&self) -> Result {
        let stats = self.store.stats().await?;
        say("Four sessions of Ada and one of Thandi remain:");
        print::stats(&stats);
        Ok(())
    }

    async fn loaded(&self, key: &Key) -> Result<Session> {
        let session = self.store.load(key).await?;
        Ok(session.ok_or("a session is missing")?)
    }

    async fn expect_dead(&self, key: &Key) -> Result {
        match self.store.load(key).await? {
            None => Ok(()),
            Some(session) => Err(format!("the dead key still opens session {}", session.id).into()),
        }
    }
}

async fn last_run(server: &DemoServer) -> Result<(String, String)> {
    let client = server.cron().await?;
    let sql = "SELECT command, status FROM cron.job_run_details ORDER BY runid DESC LIMIT 1";
    until("pg_cron reports", PATIENCE, || async {
        // The rows are deleted a moment before pg_cron records that.
        let run = client.query_one(sql, &[]).await?;
        Ok(!["starting", "running"].contains(&run.get(1)))
    })
    .await?;
    let run = client.query_one(sql, &[]).await?;
    Ok((run.get(0), run.get(1)))
}
