//! Batches that carry the client's own number (E6) are recognised for as long as the session lives.

use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom;
use runstream::clock::{ManualClock, SystemClock};

use super::{accepted, counts, line, text};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::stage::Stage;

on_each_store_beneath! {
    numbers_are_known_at_once_after_hours_and_after_a_restart,
    several_writers_in_any_order_each_batch_three_times_at_once,
}

async fn numbers_are_known_at_once_after_hours_and_after_a_restart(beneath: &Beneath) {
    let clock = ManualClock::at(1_774_000_000_000);
    let mut stage = Stage::over(beneath, Arc::new(clock.clone())).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let numbers = ["0000000a:1", "0000000a:2", "0000000b:1", "ffffffff:18446744073709551615", "0000000a:7"];
    let mut bodies: Vec<_> = numbers.iter().map(|number| line(&run, number, Some(number))).collect();
    let mut sent = String::new();
    for (number, body) in numbers.iter().zip(&bodies) {
        accepted(&organization.reporter, body).await;
        accepted(&organization.reporter, body).await;
        sent.push_str(&format!("{number}\n"));
    }
    for pause in [
        Duration::ZERO,
        Duration::from_secs(60),
        Duration::from_secs(20 * 3600),
        Duration::from_secs(3 * 3600),
    ] {
        clock.advance(pause);
        stage.restart().await;
        bodies.shuffle(&mut rand::rng());
        for body in &bodies {
            accepted(&organization.reporter, body).await;
        }
        assert_eq!(text(&organization, &run).await, sent, "after {pause:?}");
    }
    // The number decides, not the bytes: the same number is the same batch, another number is another batch.
    accepted(&organization.reporter, &line(&run, "something else", Some("0000000a:2"))).await;
    accepted(&organization.reporter, &line(&run, "0000000a:2", Some("0000000a:3"))).await;
    sent.push_str("0000000a:2\n");
    assert_eq!(text(&organization, &run).await, sent);
    assert_eq!(counts(&organization, &run).await, (6, 5 + 20 + 1));
    // Another session has numbers of its own.
    let other = organization.open().await;
    accepted(&organization.reporter, &line(&other, "mine", Some("0000000a:1"))).await;
    assert_eq!(text(&organization, &other).await, "mine\n");
}

async fn several_writers_in_any_order_each_batch_three_times_at_once(beneath: &Beneath) {
    let mut stage = Stage::over(beneath, Arc::new(SystemClock)).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let mut bodies = Vec::new();
    for writer in 0..4 {
        for n in 1..=25 {
            let number = format!("{writer:08x}:{n}");
            bodies.push(line(&run, &number, Some(&number)));
        }
    }
    let mut wanted: Vec<_> = bodies.iter().map(|body| body["batch"].as_str().unwrap().to_owned()).collect();
    let mut all: Vec<_> = bodies.iter().flat_map(|body| [body, body, body]).collect();
    all.shuffle(&mut rand::rng());
    let (early, late) = all.split_at(150);
    for part in [early, late] {
        let sending = part.iter().map(|body| accepted(&organization.reporter, body));
        futures_util::future::join_all(sending).await;
        stage.restart().await;
    }
    let stored = text(&organization, &run).await;
    let mut stored: Vec<_> = stored.lines().map(str::to_owned).collect();
    stored.sort();
    wanted.sort();
    assert_eq!(stored, wanted);
    assert_eq!(counts(&organization, &run).await, (100, 200));
}
