//! A run's log text, read by offsets.

use runstream::limits::{LOG_HEAD_BYTES, LOG_KEPT_BYTES_MAX, LOG_TAIL_BYTES, LOG_TRUNCATED_LINE};
use runstream::store::contract::TextPage;

use super::runs::{RunStore, on_each_run_store};
use super::sample;
use crate::support::runs::{Event, Reporter, START_MS, opened, words};

on_each_run_store! {
    text_is_read_by_units_and_never_splits_a_character,
    a_run_without_text_has_an_empty_log,
    no_run_no_text,
    text_reads_the_same_before_and_after_settling,
    a_long_log_loses_its_middle_and_says_so,
    a_log_at_the_cap_is_whole,
}

async fn open(store: &dyn RunStore) -> Reporter {
    let reporter = Reporter::new(opened(sample::org(), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    reporter
}

async fn read(store: &dyn RunStore, reporter: &Reporter, from: u64, limit: u64) -> TextPage {
    store.text(reporter.org(), reporter.id(), from, limit).await.unwrap().unwrap()
}

async fn settle(store: &dyn RunStore, reporter: &Reporter) {
    store.close_run(reporter.closed(1)).await.unwrap();
    store.settle(reporter.org(), reporter.id()).await.unwrap();
}

async fn text_is_read_by_units_and_never_splits_a_character(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    for part in ["aé🦀", "", "🦀b", "c"] {
        store.append(&reporter.log(part)).await.unwrap();
    }
    for _ in ["in segments", "in rows"] {
        let check = async |from, limit, text: &str, start, next| {
            let page = read(store, &reporter, from, limit).await;
            assert_eq!(page, TextPage { text: text.into(), from: start, next, length: 8 }, "{from}, {limit}");
        };
        check(0, 100, "aé🦀🦀bc", 0, 8).await;
        check(0, 3, "aé", 0, 2).await;
        check(0, 4, "aé🦀", 0, 4).await;
        check(3, 100, "🦀🦀bc", 2, 8).await;
        check(4, 3, "🦀b", 4, 7).await;
        check(5, 2, "🦀", 4, 6).await;
        check(7, 1, "c", 7, 8).await;
        check(8, 9, "", 8, 8).await;
        check(u64::MAX, u64::MAX, "", 8, 8).await;
        settle(store, &reporter).await;
    }
}

async fn a_run_without_text_has_an_empty_log(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    for _ in 0..3 {
        assert_eq!(read(store, &reporter, 0, 10).await, TextPage::default());
        let whole = store.whole_text(reporter.org(), reporter.id()).await;
        assert_eq!(whole, Ok(Some(TextPage::default())));
        if store.append(&reporter.segment(&[])).await.is_ok() {
            settle(store, &reporter).await;
        }
    }
}

async fn no_run_no_text(store: &dyn RunStore) {
    let reporter = Reporter::new(opened(sample::org(), START_MS));
    assert_eq!(store.text(reporter.org(), reporter.id(), 0, 1).await, Ok(None));
    assert_eq!(store.whole_text(reporter.org(), reporter.id()).await, Ok(None));
    assert_eq!(store.position(reporter.org(), reporter.id()).await, Ok(None));
}

async fn text_reads_the_same_before_and_after_settling(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    for number in 0..12 {
        store.append(&reporter.log(words(3_000, number))).await.unwrap();
    }
    let units: Vec<u16> = reporter.text.encode_utf16().collect();
    let length = units.len() as u64;
    for _ in ["in segments", "in rows"] {
        let whole = store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap();
        assert!(whole.text == reporter.text, "the whole text differs");
        assert_eq!((whole.from, whole.next, whole.length), (0, length, length));
        for limit in [997, 70_000] {
            let mut together = String::new();
            while (together.encode_utf16().count() as u64) < length {
                let from = together.encode_utf16().count() as u64;
                let page = read(store, &reporter, from, limit).await;
                assert!(page.from == from && page.next > from && page.next - from <= limit);
                together.push_str(&page.text);
            }
            assert!(together == reporter.text, "pages of {limit}");
        }
        assert_eq!(store.position(reporter.org(), reporter.id()).await, Ok(Some(reporter.end)));
        settle(store, &reporter).await;
    }
}

async fn a_long_log_loses_its_middle_and_says_so(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    let mut expected_order = Vec::new();
    while reporter.end.bytes <= LOG_KEPT_BYTES_MAX + 3_000_000 {
        let line = format!("🦀 segment {} {}\n", reporter.next_seq, words(20_000, reporter.next_seq));
        store.append(&reporter.segment(&[Event::Log(line.clone())])).await.unwrap();
        expected_order.push(line);
    }
    let text = reporter.text.as_str();
    let head = &text[..text.floor_char_boundary(LOG_HEAD_BYTES as usize)];
    let tail = &text[text.ceil_char_boundary(text.len() - LOG_TAIL_BYTES as usize)..];
    let units = |text: &str| text.encode_utf16().count() as u64;
    let (head_units, tail_units, length) = (units(head), units(text) - units(tail), units(text));
    let newline = if head.ends_with('\n') { "" } else { "\n" };
    let expected = [head, newline, LOG_TRUNCATED_LINE, tail].concat();
    for place in ["in segments", "in rows"] {
        let whole = store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap();
        assert!(whole.text == expected, "{place}");
        assert_eq!((whole.from, whole.next, whole.length), (0, length, length));
        let page = read(store, &reporter, head_units - 10, 1_000).await;
        assert_eq!((page.from, page.next), (head_units - 10, head_units), "{place}: it ends at the gap");
        for inside in [head_units, head_units + 1, tail_units - 1] {
            let page = read(store, &reporter, inside, 100).await;
            assert_eq!(page.from, tail_units, "{place}: it begins behind the gap");
            assert!(tail.starts_with(&page.text));
        }
        let last = read(store, &reporter, length - 50, 1_000).await;
        assert!(tail.ends_with(&last.text) && last.next == length, "{place}");
        settle(store, &reporter).await;
    }
}

async fn a_log_at_the_cap_is_whole(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    let megabyte = "x".repeat(1 << 20);
    while reporter.end.bytes < LOG_KEPT_BYTES_MAX {
        store.append(&reporter.log(megabyte.clone())).await.unwrap();
    }
    for _ in ["in segments", "in rows"] {
        let whole = store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap();
        assert!(whole.text == reporter.text);
        settle(store, &reporter).await;
    }
}
