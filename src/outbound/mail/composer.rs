//! How a letter reads: subject, a text part for a terminal and an HTML part for a browser, and the headers around them.

use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use sha2::{Digest, Sha256};

use super::content::Content;
use super::links::{InvitationAction, Links};
use super::settings::Sender;
use super::text::{SUBJECT_NAME_CHARS_MAX, one_line, shortened, wrapped};
use super::transport::SendError;
use crate::clock::UnixMs;
use crate::domain::mail::{Letter, LetterKind};

/// Templates by name. Those whose name ends in `.html` are escaped.
const TEMPLATES: [(&str, &str); 9] = [
    ("layout.html", include_str!("templates/layout.html")),
    ("invitation.html", include_str!("templates/invitation.html")),
    ("invitation.txt", include_str!("templates/invitation.txt")),
    ("welcome.html", include_str!("templates/welcome.html")),
    ("welcome.txt", include_str!("templates/welcome.txt")),
    ("password_reset.html", include_str!("templates/password_reset.html")),
    ("password_reset.txt", include_str!("templates/password_reset.txt")),
    ("usage_alert.html", include_str!("templates/usage_alert.html")),
    ("usage_alert.txt", include_str!("templates/usage_alert.txt")),
];
/// Tells other programs that answer mail not to answer this.
const AUTOMATIC: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");
/// Bytes of the digest that names a message.
const MESSAGE_ID_BYTES: usize = 20;

/// A message that is ready to be handed over.
#[derive(Debug)]
pub struct Message(pub(super) lettre::Message);

impl Message {
    /// The message as it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.formatted()
    }
}

/// What is read of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// One line.
    pub subject: String,
    /// Lines of at most 72 characters; a link stands alone on its line.
    pub text: String,
    /// A page without anything remote.
    pub html: String,
}

/// Writes messages.
#[derive(Debug)]
pub struct Composer {
    templates: Environment<'static>,
    from: Mailbox,
    links: Links,
}

/// The templates, or what is wrong with them.
fn templates() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

impl Composer {
    /// Writes messages from `sender`, called `name`.
    ///
    /// # Panics
    /// Never: the templates are part of the program and tested.
    #[must_use]
    pub fn new(sender: &Sender, name: &str, links: Links) -> Self {
        let name = Some(one_line(name)).filter(|name| !name.is_empty());
        let from = Mailbox::new(name, sender.address().clone());
        Self { templates: templates().expect("the templates are well-formed"), from, links }
    }

    /// What a person at `recipient` reads.
    ///
    /// # Errors
    /// `ForGood` if a template fails.
    pub fn parts(&self, recipient: &str, content: &Content) -> Result<Parts, SendError> {
        let (subject, values) = self.values(content);
        let subject = one_line(&subject);
        let name = content.kind().name();
        let recipient = one_line(recipient);
        let shared = context! {
            subject => subject.as_str(), recipient => recipient, dashboard => self.links.dashboard(),
        };
        let render = |ending: &str| {
            let template = self.templates.get_template(&format!("{name}.{ending}"))?;
            template.render(context! { ..values.clone(), ..shared.clone() })
        };
        let failed = |error: minijinja::Error| SendError::ForGood(format!("the template {name}: {error}"));
        let (text, html) = (render("txt").map_err(failed)?, render("html").map_err(failed)?);
        Ok(Parts { subject, text: wrapped(&text), html })
    }

    /// The subject, and what the template of the content takes.
    fn values(&self, content: &Content) -> (String, Value) {
        let short = |name: &str| shortened(&one_line(name), SUBJECT_NAME_CHARS_MAX);
        match content {
            Content::Invitation { organization, inviter, role, action, token, expires_ms } => (
                format!("{} invites you to {}", short(inviter), short(organization)),
                context! {
                    organization => one_line(organization),
                    inviter => one_line(inviter),
                    role => role.as_str(),
                    joins => *action == InvitationAction::Join,
                    link => self.links.invitation(*action, token),
                    expires => minute(*expires_ms),
                },
            ),
            Content::Welcome { name, organization } => (
                "Welcome to Runstream".to_owned(),
                context! {
                    name => one_line(name),
                    organization => one_line(organization),
                    link => self.links.dashboard(),
                },
            ),
            Content::PasswordReset { name, token, expires_ms } => (
                "Choose a new password for Runstream".to_owned(),
                context! {
                    name => one_line(name),
                    organization => "",
                    link => self.links.password_reset(token),
                    expires => minute(*expires_ms),
                },
            ),
            Content::UsageAlert { organization, resource, used, threshold, is_exhausted } => (
                format!("{}: {threshold} % of the {resource} are used", short(organization)),
                context! {
                    organization => one_line(organization),
                    resource => one_line(resource),
                    used => one_line(used),
                    threshold => u32::from(*threshold),
                    is_exhausted => *is_exhausted,
                    link => self.links.billing(),
                },
            ),
        }
    }

    /// The message for a letter that says `content`. The same letter always has the same message id, by which a mail server
    /// knows it again.
    ///
    /// # Errors
    /// `ForGood` if the address is none that mail can go to, or a template fails.
    pub fn message(&self, letter: &Letter, content: &Content, now_ms: UnixMs) -> Result<Message, SendError> {
        let Parts { subject, text, html } = self.parts(&letter.to, content)?;
        let to = letter.to.parse::<lettre::Address>();
        let to = to.map_err(|error| SendError::ForGood(format!("the address cannot be used: {error}")))?;
        let date = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
        let built = lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .date(date)
            .message_id(Some(self.message_id(letter)))
            .raw_header(HeaderValue::new(AUTOMATIC, automatic(letter.kind).to_owned()))
            .multipart(MultiPart::alternative_plain_html(text, html));
        built.map(Message).map_err(|error| SendError::ForGood(error.to_string()))
    }

    fn message_id(&self, letter: &Letter) -> String {
        let digest = Sha256::new().chain_update(letter.org.as_bytes()).chain_update(&letter.key).finalize();
        let name: String = digest.iter().take(MESSAGE_ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
        format!("<{name}@{}>", self.from.email.domain())
    }
}

/// Whether somebody's own act sent the letter, in the words of RFC 3834.
const fn automatic(kind: LetterKind) -> &'static str {
    match kind {
        LetterKind::Invitation | LetterKind::Welcome | LetterKind::PasswordReset | LetterKind::UsageAlert => {
            "auto-generated"
        }
    }
}

/// A moment for people, as `16 March 2026, 09:50 UTC`.
fn minute(at_ms: UnixMs) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::OrgId;
    use crate::domain::mail::SealedContent;
    use crate::domain::role::Role;

    fn composer() -> Composer {
        let sender = "runs@pinewood.test".parse().unwrap();
        Composer::new(&sender, "Runstream", Links::new("https://runs.pinewood.test"))
    }

    fn contents(name: &str) -> Vec<Content> {
        let (name, token) = (name.to_owned(), "0123456789abcdef".repeat(4));
        let expires_ms = 1_773_654_625_113;
        let invitation = |action| Content::Invitation {
            organization: name.clone(),
            inviter: name.clone(),
            role: Role::Developer,
            action,
            token: token.clone(),
            expires_ms,
        };
        let alert = |is_exhausted, threshold| Content::UsageAlert {
            organization: name.clone(),
            resource: "test runs".into(),
            used: "41 of 50".into(),
            threshold,
            is_exhausted,
        };
        vec![
            invitation(InvitationAction::Signup),
            invitation(InvitationAction::Join),
            Content::Welcome { name: name.clone(), organization: name.clone() },
            Content::PasswordReset { name: name.clone(), token: token.clone(), expires_ms },
            alert(false, 80),
            alert(true, 100),
        ]
    }

    fn letter(to: &str, key: &str) -> Letter {
        Letter {
            org: OrgId::from_bytes([1; 12]),
            key: key.into(),
            kind: LetterKind::Invitation,
            to: to.into(),
            content: SealedContent(Vec::new()),
            created_ms: 0,
            expires_ms: 1,
        }
    }

    #[test]
    fn every_letter_reads_well_in_a_terminal_and_has_its_link_alone_on_a_line() {
        for content in &contents("Pinewood Labs for the Advancement of Very Long Names") {
            let parts = composer().parts("ivo@pinewood.test", content).unwrap();
            let links: Vec<_> = parts.text.lines().filter(|line| line.contains("https://")).collect();
            assert_eq!(links.len(), 1, "{}", parts.text);
            assert!(links[0].starts_with("https://runs.pinewood.test") && !links[0].contains(' '));
            let fits = |line: &str| line.chars().count() <= 72 || line == links[0];
            assert!(parts.text.lines().all(fits), "{}", parts.text);
            assert!(!parts.text.contains("\n\n\n") && parts.text.is_ascii(), "{}", parts.text);
            assert!(parts.subject.chars().count() <= 140, "{}", parts.subject);
            let html = parts.html.replace("&#x2f;", "/");
            assert_eq!(html.matches(&format!("href=\"{}\"", links[0])).count(), 2, "{html}");
        }
    }

    #[test]
    fn nothing_in_a_page_is_fetched() {
        for content in contents("Pinewood") {
            let html = composer().parts("ivo@pinewood.test", &content).unwrap().html;
            for remote in ["<img", "<link", "<script", "url(", "@import", "src=", "http:"] {
                assert!(!html.contains(remote), "{remote}: {html}");
            }
        }
    }

    #[test]
    fn names_are_escaped_in_pages_and_break_no_header() {
        let name = "<script>alert(1)</script>\"'\r\nBcc: all@pinewood.test\r\n\r\n<img src=x>{{ 7 * 7 }}";
        for content in contents(name) {
            let parts = composer().parts("ivo@pinewood.test", &content).unwrap();
            for raw in ["<script", "<img", "'\r", "49"] {
                assert!(!parts.html.contains(raw), "{raw}: {}", parts.html);
            }
            assert!(
                !parts.text.contains("49") && !parts.text.contains("\nBcc") && !parts.text.contains('\r')
            );
            let message = composer().message(&letter("ivo@pinewood.test", "a"), &content, 5).unwrap();
            let bytes = String::from_utf8(message.bytes()).unwrap();
            let (head, _) = bytes.split_once("\r\n\r\n").unwrap();
            let names = head.lines().filter(|line| !line.starts_with([' ', '\t']));
            let mut names: Vec<_> =
                names.filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
            names.sort_unstable();
            let expected = [
                "Auto-Submitted",
                "Content-Type",
                "Date",
                "From",
                "MIME-Version",
                "Message-ID",
                "Subject",
                "To",
            ];
            assert_eq!(names, expected, "{head}");
        }
    }

    #[test]
    fn addresses_that_mail_cannot_go_to_are_refused() {
        let content = &contents("Pinewood")[2];
        for bad in
            ["a<b>@c.test", "a,b@c.test", "a@b@c.test", "a@[c.test", "a\r\nb@c.test", "a@c.test>", "@c.test"]
        {
            let message = composer().message(&letter(bad, "a"), content, 5);
            assert!(matches!(message, Err(SendError::ForGood(_))), "{bad:?}: {message:?}");
        }
    }

    #[test]
    fn a_letter_keeps_its_message_id_and_no_other_has_it() {
        let id = |key: &str, now_ms: UnixMs| {
            let message =
                composer().message(&letter("ivo@pinewood.test", key), &contents("Pinewood")[2], now_ms);
            let bytes = String::from_utf8(message.unwrap().bytes()).unwrap();
            bytes.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap().to_owned()
        };
        assert_eq!(id("a", 1), id("a", 2_000_000_000_000));
        assert_ne!(id("a", 1), id("b", 1));
        assert!(id("a", 1).ends_with("@pinewood.test>"), "{}", id("a", 1));
    }

    #[test]
    fn moments_are_written_for_people() {
        assert_eq!(minute(1_773_654_625_113), "16 March 2026, 09:50 UTC");
    }
}
