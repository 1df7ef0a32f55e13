//! A room uses only rooms above it in the map of `lib.rs`, and the three doors never use each other.

use std::collections::BTreeSet;

use super::{read, rust_files};

/// The doors: none uses another.
const DOORS: [&str; 3] = ["ingest", "live", "api"];

/// The rooms of the map, from the top.
fn rooms() -> Vec<String> {
    let map = read("src/lib.rs");
    let names = map.lines().filter_map(|line| line.strip_prefix("//! - [`")?.split_once('`'));
    let rooms: Vec<_> = names.map(|(name, _)| name.to_owned()).collect();
    assert!(rooms.len() > 10, "the map in lib.rs lists the rooms as `- [`name`]`: {rooms:?}");
    rooms
}

/// The rooms that `text` names as `crate::room` or within `crate::{…}`.
fn used_rooms(text: &str) -> BTreeSet<String> {
    let ident = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
    };
    let mut used = BTreeSet::new();
    for (at, path) in text.match_indices("crate::") {
        let rest = &text[at + path.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0_i32;
            let mut first = true;
            for (index, letter) in list.char_indices() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => first = true,
                    letter if depth == 0 && first && letter.is_ascii_alphabetic() => {
                        used.insert(ident(&list[index..]));
                        first = false;
                    }
                    _ => {}
                }
            }
        } else {
            used.insert(ident(rest));
        }
    }
    used
}

#[test]
fn the_map_lists_exactly_the_rooms_there_are() {
    let library = read("src/lib.rs");
    let modules = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let modules: BTreeSet<_> = modules.map(str::to_owned).collect();
    assert_eq!(rooms().into_iter().collect::<BTreeSet<_>>(), modules);
}

#[test]
fn arrows_point_up_the_map_only() {
    let rooms = rooms();
    let place = |room: &str| rooms.iter().position(|known| known == room);
    let mut wrong = Vec::new();
    for (file, text) in rust_files("src") {
        let Some(room) = file.strip_prefix("src/").and_then(|path| path.split(['/', '.']).next()) else {
            continue;
        };
        let Some(own) = place(room) else { continue };
        for used in used_rooms(&text) {
            let Some(other) = place(&used) else { continue };
            let between_doors = DOORS.contains(&room) && DOORS.contains(&used.as_str()) && room != used;
            if other > own || between_doors {
                wrong.push(format!("{file} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point down the map or from door to door:\n{}", wrong.join("\n"));
}

#[test]
fn uses_are_found_in_every_way_they_are_written() {
    let text = "use crate::domain::id::X;\nuse crate::{clock::Clock, store::{self, contract}, limits};\ncrate::http::full()";
    let expected = ["clock", "domain", "http", "limits", "store"].map(str::to_owned);
    assert_eq!(used_rooms(text), expected.into());
}
