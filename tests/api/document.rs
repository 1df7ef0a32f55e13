//! The files of `schema/` against the code.

use runstream::server::api_document;

fn file(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_locked_document_is_that_of_the_code() {
    let (locked, made) = (file("openapi.json"), String::from_utf8(api_document().to_vec()).unwrap());
    let first_difference = locked.lines().zip(made.lines()).position(|(locked, made)| locked != made);
    let line = first_difference.unwrap_or_else(|| locked.lines().count().min(made.lines().count())) + 1;
    assert!(
        locked == made,
        "schema/openapi.json differs from the code at line {line}; if the change is meant, write it anew: \
         cargo run -- schema > schema/openapi.json"
    );
}
