//! Things measured in turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A cheap sequence of numbers in no order (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * end as u128) >> 64) as usize
    }
}

/// Tasks that do the same again and again; each is given a number below `end`, in no order.
#[derive(Clone, Copy)]
pub(crate) struct Tasks {
    pub(crate) count: usize,
    pub(crate) end: usize,
    pub(crate) turn: Duration,
}

impl Tasks {
    /// How often in a second they do it.
    async fn speed<F, A>(self, act: &Arc<A>) -> f64
    where
        A: Fn(usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send,
    {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..self.count)
            .map(|number| {
                let act = Arc::clone(act);
                tokio::spawn(async move {
                    let mut random = Random::new(begin.elapsed().as_nanos() as u64 + number as u64);
                    let mut done = 0_u64;
                    while begin.elapsed() < self.turn {
                        act(random.below(self.end)).await;
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.expect("what is measured does not panic");
        }
        done as f64 / begin.elapsed().as_secs_f64()
    }

    /// The speeds of both in each round. The side that came last in one round comes first in the
    /// next.
    pub(crate) async fn compare<F, G, A, B>(self, rounds: usize, ours: A, bare: B) -> Vec<[f64; 2]>
    where
        A: Fn(usize) -> F + Send + Sync + 'static,
        B: Fn(usize) -> G + Send + Sync + 'static,
        F: Future<Output = ()> + Send,
        G: Future<Output = ()> + Send,
    {
        let (ours, bare) = (Arc::new(ours), Arc::new(bare));
        // Fills the caches of the connections.
        self.speed(&ours).await;
        self.speed(&bare).await;
        let mut speeds = Vec::with_capacity(rounds);
        for round in 0..rounds {
            speeds.push(if round % 2 == 0 {
                let first = self.speed(&ours).await;
                [first, self.speed(&bare).await]
            } else {
                let first = self.speed(&bare).await;
                [self.speed(&ours).await, first]
            });
        }
        speeds
    }
}
