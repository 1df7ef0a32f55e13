//! Tokens that an attacker makes: with another algorithm, none, a key of the attacker's choice, of another time, too large.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use runstream::limits::TOKEN_CLOCK_SKEW_S;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::site::{NOW_MS, Person, SIGNING, Site, known_secrets};

const NOW_S: i64 = NOW_MS.div_euclid(1_000);
const MINE: &[u8] = b"a key that the attacker has chosen";

async fn site() -> (Site, Person) {
    let site = Site::start_with(known_secrets).await;
    let rosa = site.sign_up("rosa").await;
    (site, rosa)
}

/// What signs a token.
#[derive(Clone, Copy)]
enum Signature<'k> {
    None,
    Sha256(&'k [u8]),
    Sha384(&'k [u8]),
    Sha512(&'k [u8]),
}

use Signature::{Sha256, Sha384, Sha512};

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let [first, second, third] = [0, 1, 2].map(|at| u32::from(part.get(at).copied().unwrap_or(0)));
        let bits = first << 16 | second << 8 | third;
        for digit in 0..=part.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

fn token(header: &Value, claims: &Value, signature: Signature<'_>) -> String {
    let signed =
        format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let text = signed.as_bytes();
    let signature = match signature {
        Signature::None => Vec::new(),
        Sha256(key) => Hmac::<sha2::Sha256>::new_from_slice(key)
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes()
            .to_vec(),
        Sha384(key) => Hmac::<sha2::Sha384>::new_from_slice(key)
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes()
            .to_vec(),
        Sha512(key) => Hmac::<sha2::Sha512>::new_from_slice(key)
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes()
            .to_vec(),
    };
    format!("{signed}.{}", base64url(&signature))
}

fn claims_of(person: &Person) -> Value {
    json!({
        "userId": person.user["id"], "organizationId": person.user["organizationId"], "role": "admin",
        "iat": NOW_S, "exp": NOW_S + 3_600, "jti": "made-by-hand", "credentialsFrom": NOW_MS,
    })
}

/// What a door says to a token: one that takes tokens alone, and one that takes keys, too.
async fn check(site: &Site, token: &str, is_good: bool, why: &str) {
    for path in ["/api/auth/me", "/api/projects"] {
        let answer = site.get(path).token(token).send().await;
        if is_good {
            assert_eq!(answer.status, 200, "{why}: {answer:?}");
        } else {
            assert_eq!(answer.failure(), (401, "Invalid token".to_owned()), "{path}: {why}");
        }
    }
    let events = json!({ "sessionId": "00000000-0000-4000-8000-000000000000", "events": [] });
    let answer =
        site.post("/api/ingest/event").from(&site.new_address()).token(token).json(&events).send().await;
    assert_eq!(answer.status, if is_good { 400 } else { 401 }, "{why}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_algorithm_is_taken_and_no_token_goes_unsigned() {
    let (site, rosa) = site().await;
    let claims = claims_of(&rosa);
    let control = token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, Sha256(&SIGNING));
    check(&site, &control, true, "the control").await;
    let (_, good) = control.rsplit_once('.').unwrap();
    for none in ["none", "None", "NONE", "nOnE", "", "null"] {
        site.advance(61);
        let bare = token(&json!({ "alg": none }), &claims, Signature::None);
        check(&site, &bare, false, none).await;
        check(&site, bare.trim_end_matches('.'), false, none).await;
        check(&site, &format!("{bare}{good}"), false, none).await;
        check(&site, &token(&json!({ "alg": none }), &claims, Sha256(&SIGNING)), false, none).await;
    }
    // Signed as it says, with the right secret: it is the algorithm that is wrong. And what is signed with a public key as
    // if that were a secret: the secret is the only key there is here.
    for (algorithm, signature) in [
        ("HS384", Sha384(&SIGNING)),
        ("HS512", Sha512(&SIGNING)),
        ("RS256", Sha256(&SIGNING)),
        ("RS512", Sha512(&SIGNING)),
        ("PS256", Sha256(&SIGNING)),
        ("ES256", Sha256(&SIGNING)),
        ("ES384", Sha384(&SIGNING)),
        ("EdDSA", Sha256(&SIGNING)),
        ("hs256", Sha256(&SIGNING)),
        ("HS256 ", Sha256(&SIGNING)),
        ("HS256", Sha384(&SIGNING)),
        ("HS256", Sha256(b"")),
        ("HS256", Sha256(MINE)),
    ] {
        site.advance(61);
        check(&site, &token(&json!({ "alg": algorithm }), &claims, signature), false, algorithm).await;
    }
    for header in [json!({}), json!({ "alg": null }), json!({ "alg": ["HS256"] }), json!("HS256"), json!([])]
    {
        site.advance(61);
        check(&site, &token(&header, &claims, Sha256(&SIGNING)), false, "no algorithm").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_does_not_choose_its_key() {
    let (site, rosa) = site().await;
    let claims = claims_of(&rosa);
    // Somebody who hears if the server asks for a key.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys.json", listener.local_addr().unwrap());
    let jwk = json!({ "kty": "oct", "alg": "HS256", "k": base64url(MINE) });
    for (name, value, key) in [
        ("kid", json!("../../../../../../dev/null"), b"".as_slice()),
        ("kid", json!("/dev/null"), b"\0"),
        ("kid", json!("x' UNION SELECT 'k"), b"k"),
        ("kid", json!("x".repeat(1_000)), MINE),
        ("kid", json!(url), MINE),
        ("jwk", jwk.clone(), MINE),
        ("jku", json!(url), MINE),
        ("x5u", json!(url), MINE),
        ("x5c", json!([base64url(MINE)]), MINE),
        ("jwks", json!({ "keys": [jwk] }), MINE),
    ] {
        site.advance(61);
        let header = json!({ "alg": "HS256", "typ": "JWT", name: value });
        check(&site, &token(&header, &claims, Sha256(key)), false, name).await;
        // Signed with the right secret nobody asks for another key either.
        site.get("/api/auth/me").token(&token(&header, &claims, Sha256(&SIGNING))).send().await;
    }
    let asked = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(asked.is_err(), "the server asked {url} for a key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_time_is_none() {
    let (site, rosa) = site().await;
    let check = async |changes: Value, is_good: bool| {
        site.advance(0);
        let mut claims = claims_of(&rosa);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = token(&json!({ "alg": "HS256" }), &claims, Sha256(&SIGNING));
        check(&site, &token, is_good, &changes.to_string()).await;
    };
    // As far as the clock of another server may be ahead, and from the first second after that.
    let ahead = NOW_S + TOKEN_CLOCK_SKEW_S;
    for past in [json!({ "iat": ahead }), json!({ "nbf": ahead }), json!({ "nbf": 0 }), json!({ "iat": 0 })] {
        check(past, true).await;
    }
    for future in [json!({ "iat": ahead + 1 }), json!({ "nbf": ahead + 1 }), json!({ "nbf": i64::MAX })] {
        check(future, false).await;
    }
    for over in [json!(NOW_S), json!(NOW_S - 1), json!(0), json!(-1), json!(i64::MIN)] {
        check(json!({ "exp": over }), false).await;
    }
    for odd in
        [json!("9999999999"), json!(9e30), json!(u64::MAX), json!(null), json!(true), json!([NOW_S + 9])]
    {
        check(json!({ "exp": odd }), false).await;
    }
    for odd in [json!("0"), json!({}), json!(true), json!(1e300)] {
        check(json!({ "nbf": odd }), false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_too_large_is_not_read() {
    let (site, rosa) = site().await;
    let mut claims = claims_of(&rosa);
    let header = json!({ "alg": "HS256" });
    let control = token(&header, &claims, Sha256(&SIGNING));
    let room = runstream::limits::TOKEN_BYTES_MAX - control.len();
    claims["padding"] = "x".repeat(room / 2).into();
    check(&site, &token(&header, &claims, Sha256(&SIGNING)), true, "large").await;
    for bytes in [room, 8 << 10, 20 << 10] {
        claims["padding"] = "x".repeat(bytes).into();
        check(&site, &token(&header, &claims, Sha256(&SIGNING)), false, "too large").await;
    }
    claims["padding"] = "x".repeat(64 << 10).into();
    let answer = site.get("/api/auth/me").token(&token(&header, &claims, Sha256(&SIGNING))).send().await;
    assert_eq!(answer.status, 431, "larger than any head may be");
}
