//! The same random operations on two stores and a model that is nothing but vectors: every answer, and every now and then
//! everything that can be read, is the same. The distributed store loses answers meanwhile; both are closed and opened again
//! in between.

mod check;
mod dice;
mod joining;
mod model;
mod operation;
mod settings;

use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use runstream::clock::ManualClock;
use runstream::store::scylla::{Cold, Cql};

use model::Model;
use operation::perform;

use super::sample::NOW_MS;
use super::{Home, LsmHome};
use crate::support::{cql, long_mode};

/// Operations of one sequence.
const STEPS: usize = 200;
/// After so many both stores are closed, opened again and read whole.
const REOPENED_EVERY: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn both_stores_answer_as_the_model_does() {
    for _ in 0..if long_mode() { 20 } else { 1 } {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (home, mut model) = (LsmHome::new(), Model::default());
        let keyspace = cql::keyspace().await;
        let cluster = async || {
            let cql = Cql::connect(&keyspace, Arc::new(ManualClock::at(NOW_MS))).await.unwrap();
            cql.faults().lose_answers(5);
            Cold::open(Arc::new(cql)).await.unwrap()
        };
        let (mut lsm, mut scylla) = (home.open().await, cluster().await);
        for step in 0..STEPS {
            let operation = model.next(&mut random);
            let expected = model.perform(operation.clone());
            assert_eq!(perform(&*lsm, operation.clone()).await, expected, "embedded, {step}: {operation:?}");
            assert_eq!(perform(&scylla, operation.clone()).await, expected, "cluster, {step}: {operation:?}");
            if step % REOPENED_EVERY == REOPENED_EVERY - 1 {
                drop((lsm, scylla));
                (lsm, scylla) = (home.open().await, cluster().await);
                model.check(&*lsm, "embedded").await;
                model.check(&scylla, "cluster").await;
            }
        }
    }
}
