//! Many sessions that end at once: more ids than fit into one notification.

use fastrand::Rng;
use futures_util::future::join_all;

use super::attempt::{Attempt, attempt};
use super::{CROWDS, Known, Worker};
use crate::history::{Effect, Who};

const MOST: i32 = 700;
/// The number of these sessions that are loaded.
const LOADED: usize = 40;

impl Worker {
    pub(super) async fn crowd(&self, rng: &mut Rng) {
        let user = CROWDS + self.process as i64;
        let count = rng.i32(100..MOST);
        let mut crowd = self.create_many(rng, user, count).await;
        rng.shuffle(&mut crowd);
        crowd.truncate(LOADED);
        for known in crowd.iter().take(LOADED / 8) {
            self.keyring.publish(known);
        }
        self.load_all(rng, &crowd).await;
        if rng.bool() {
            self.delete_this_user(rng, user).await;
        } else {
            let call = self.call("revoke a crowd");
            let revoked = attempt(rng, self.store.revoke_user_sessions(user)).await;
            let effects = match revoked {
                Attempt::Refused(_) => vec![],
                _ => vec![Effect::Ended {
                    who: Who::User(user),
                    except: None,
                }],
            };
            self.note(call, &revoked, effects);
        }
        self.load_all(rng, &crowd).await;
        let sql = "INSERT INTO users VALUES ($1) ON CONFLICT DO NOTHING";
        self.run(rng, sql, &[&user]).await;
    }

    async fn load_all(&self, rng: &mut Rng, crowd: &[Known]) {
        let loads = crowd.iter().map(|known| {
            let mut rng = rng.fork();
            async move { self.load(&mut rng, known).await }
        });
        join_all(loads).await;
    }
}
