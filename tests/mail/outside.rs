//! What somebody outside puts into letters to others: where links lead is the deployment's to say, and names and addresses
//! are never more than that.

use serde_json::{Value, json};

use super::server::MailServer;
use super::{resets, site_for};
use crate::support::site::{Ask, PASSWORD, Site};

const EVIL: &str = "x\r\nBcc: all@pinewood.test\r\nSubject: hello\r\n\r\n<script>alert(1)</script>\r\n.\r\nRCPT TO:<a@b.test>";

/// Headers with which the sender of a request says where it came to.
const WHERE: [(&str, &str); 8] = [
    ("host", "evil.test"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-server", "evil.test"),
    ("x-forwarded-proto", "gopher"),
    ("x-original-host", "evil.test"),
    ("forwarded", "for=198.51.100.7;host=evil.test;proto=gopher"),
    ("origin", "https://evil.test"),
    ("referer", "https://evil.test/reset"),
];

/// As if it had come to somebody else.
fn dress(mut asked: Ask<'_>) -> Ask<'_> {
    for (name, value) in WHERE {
        asked = asked.header(name, value);
    }
    asked
}

fn assert_clean(mail: &Value, to: &str) {
    assert_eq!(mail["envelope"], json!(["runs@pinewood.test", to]));
    let raw = mail["raw"].as_str().unwrap().to_lowercase();
    assert!(!raw.contains("evil.test") && !raw.contains("gopher"), "{raw}");
    let (head, _) = raw.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("\nbcc") && head.matches("\nsubject:").count() == 1, "{head}");
    assert_eq!(head.matches("\nto:").count() + usize::from(head.starts_with("to:")), 1, "{head}");
    let html = mail["html"].as_str().unwrap();
    assert!(!html.contains("<script"), "{html}");
    assert!(mail["text"].as_str().unwrap().contains("https://runs.pinewood.test"), "{mail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_says_where_links_lead_or_adds_to_a_head() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let form = json!({
        "email": "rosa@pinewood.test", "password": PASSWORD, "name": EVIL, "organizationName": EVIL,
    });
    let asked = dress(site.post("/api/auth/signup").from(&site.new_address()).json(&form));
    let signed_up = asked.send().await.expect(201);
    assert_clean(&server.mail(1).await, "rosa@pinewood.test");
    let invited = json!({ "email": "ivo@pinewood.test", "role": "viewer" });
    let asked = site.post("/api/invitations").token(signed_up["token"].as_str().unwrap()).json(&invited);
    dress(asked).send().await.expect(201);
    assert_clean(&server.mail(2).await, "ivo@pinewood.test");
    let asked = dress(resets::asked(&site, "rosa@pinewood.test"));
    assert_eq!(resets::held_back(&site, asked).await.status, 200);
    site.server.mail().wake();
    let reset = server.mail(3).await;
    assert_clean(&reset, "rosa@pinewood.test");
    assert!(
        reset["text"].as_str().unwrap().contains("https://runs.pinewood.test/reset-password?token="),
        "{reset}"
    );
    server.listen().await;
    assert_eq!(server.count("mail"), 3, "and nobody else heard anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_one_address_or_none() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let rosa = site.sign_up("rosa").await;
    server.mail(1).await;
    let invite = async |site: &Site, email: &str| {
        let body = json!({ "email": email, "role": "viewer" });
        site.post("/api/invitations").token(&rosa.token).json(&body).send().await
    };
    for (number, email) in [
        "ivo@pinewood.test\r\nBcc: all@pinewood.test",
        "ivo@pinewood.test\nRCPT TO:<all@pinewood.test>",
        "ivo@pinewood.test, all@pinewood.test",
        "ivo@pinewood.test,all@pinewood.test",
        "ivo@pinewood.test;all@pinewood.test",
        "Ivo <ivo@pinewood.test>",
        "ivo@pinewood.test>\u{2028}all",
        "ivo%0d%0abcc:all@pinewood.test\0",
    ]
    .into_iter()
    .enumerate()
    {
        if number % 8 == 0 {
            site.advance(61);
        }
        assert_eq!(
            invite(&site, email).await.failure(),
            (400, "Invalid email format".to_owned()),
            "{email:?}"
        );
    }
    site.advance(61);
    // Odd, and an address all the same: it gets its letter alone, or none is sent.
    for email in
        ["all,ivo@pinewood.test", "all;ivo@pinewood.test", "<all@pinewood.test", "ivo%all@pinewood.test"]
    {
        let answer = invite(&site, email).await;
        assert!([201, 400].contains(&answer.status), "{email}: {answer:?}");
    }
    server.listen().await;
    for mail in server.mails().iter().skip(1) {
        let envelope = mail["envelope"].as_array().unwrap();
        assert_eq!(envelope.len(), 2, "one sender, one recipient: {envelope:?}");
        let raw = mail["raw"].as_str().unwrap();
        let (head, _) = raw.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("\nbcc") && !head.to_lowercase().contains("\ncc"), "{head}");
        assert!(envelope[1] != "ivo@pinewood.test", "{envelope:?}");
    }
}
