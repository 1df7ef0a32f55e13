//! Addresses that notifications are sent to: which ones may be stored, and which hosts may be spoken to.
//! Source: API reference, identity 5.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::limits::ADDRESS_CHARS_MAX;

/// Whether this is the address of a Slack webhook:
/// `https://hooks.slack.com/services/<8–16 [A-Z0-9]>/<8–16 [A-Z0-9]>/<24–64 [A-Za-z0-9]>`.
#[must_use]
pub fn is_slack(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://hooks.slack.com/services/") else { return false };
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let [team, channel, token] = match rest.split('/').collect::<Vec<_>>().try_into() {
        Ok(parts) => parts,
        Err(_) => return false,
    };
    let id = |part: &str| (8..=16).contains(&part.len()) && part.bytes().all(upper);
    let token_fits =
        (24..=64).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    id(team) && id(channel) && token_fits
}

/// Whether this is the address of a Teams webhook: `https`, a host below `webhook.office.com`, a path below `/webhookb2/`,
/// neither credentials nor a port.
#[must_use]
pub fn is_ms_teams(text: &str) -> bool {
    let Some(url) = https(text) else { return false };
    let below = url.host_str().and_then(|host| host.strip_suffix(".webhook.office.com"));
    below.is_some_and(|label| !label.is_empty())
        && url.port().is_none()
        && url.path().starts_with("/webhookb2/")
}

/// The host of an address that the organization's own webhook may have, as far as the text tells: `https`, no credentials,
/// and a host that is no internal address. A host that is a name has to be looked up, now and whenever it is used.
#[must_use]
pub fn outbound_host(text: &str) -> Option<OutboundHost> {
    match https(text)?.host()? {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            let own = ["localhost", "local", "internal"];
            let is_own = name.is_empty() || own.contains(&name.rsplit('.').next().unwrap_or(name));
            (!is_own).then(|| OutboundHost::Name(name.to_owned()))
        }
        // Decimal, octal and hexadecimal forms have become plain ones.
        Host::Ipv4(ip) => is_public(ip.into()).then_some(OutboundHost::Address),
        Host::Ipv6(ip) => is_public(ip.into()).then_some(OutboundHost::Address),
    }
}

/// A host that may be spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundHost {
    /// If none of its addresses is internal.
    Name(String),
    /// A public address.
    Address,
}

fn https(text: &str) -> Option<Url> {
    // What a parser would leave out is not an address that somebody meant.
    let plain = text.chars().all(|character| !character.is_whitespace() && !character.is_control());
    if !plain || text.chars().count() > ADDRESS_CHARS_MAX {
        return None;
    }
    let url = Url::parse(text).ok()?;
    // An empty user before the `@` is none to the parser, and not what an address looks like.
    let authority = text.split("://").nth(1)?.split(['/', '?', '#', '\\']).next()?;
    let bare = url.username().is_empty() && url.password().is_none() && !authority.contains('@');
    let has_host = url.has_host() && !authority.is_empty();
    (url.scheme() == "https" && has_host && bare).then_some(url)
}

/// Whether an address is one that anybody on the internet has: not this machine, a private network, a link, a group, nor
/// one kept for tests or transitions that leads to such.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// Source: the registry of special-purpose IPv4 addresses (RFC 6890 and its successors).
const fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

/// Source: the registry of special-purpose IPv6 addresses.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // Mapped addresses, and the address of a NAT64 gateway's other side.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4.
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocol assignments (Teredo among them), documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // Of all others only global unicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_addresses_have_one_form() {
        let token = "a".repeat(24);
        let good = format!("https://hooks.slack.com/services/T0000000/B00000000/{token}");
        assert!(is_slack(&good));
        assert!(is_slack(&format!(
            "https://hooks.slack.com/services/{}/{}/{}",
            "T".repeat(16),
            "9".repeat(16),
            "Z9a".repeat(21)
        )));
        for bad in [
            good.replace("https", "http"),
            good.replace("hooks.slack.com", "hooks.slack.com.evil.test"),
            good.replace("hooks.slack.com", "hooks.slack.com:443"),
            good.replace("hooks", "x@hooks"),
            good.replace("T0000000", "T000000"),
            good.replace("T0000000", "t0000000"),
            good.replace("B00000000", &"B".repeat(17)),
            good.replace(&token, &"a".repeat(23)),
            good.replace(&token, &"a".repeat(65)),
            format!("{good}?x=1"),
            format!("{good}#x"),
            format!("{good}/x"),
            format!("{good}/"),
            format!(" {good}"),
            good.replace("/services", ""),
            String::new(),
        ] {
            assert!(!is_slack(&bad), "{bad}");
        }
    }

    #[test]
    fn teams_addresses_are_below_their_domain_and_path() {
        let good = "https://pinewood.webhook.office.com/webhookb2/1@2/IncomingWebhook/3/4";
        assert!(is_ms_teams(good));
        let longest = format!("{good}{}", "x".repeat(2_048 - good.len()));
        assert!(is_ms_teams(&longest) && !is_ms_teams(&format!("{longest}x")));
        for bad in [
            "http://pinewood.webhook.office.com/webhookb2/1",
            "https://webhook.office.com/webhookb2/1",
            "https://.webhook.office.com/webhookb2/1",
            "https://pinewoodwebhook.office.com/webhookb2/1",
            "https://pinewood.webhook.office.com.evil.test/webhookb2/1",
            "https://evil.test/pinewood.webhook.office.com/webhookb2/1",
            "https://pinewood.webhook.office.com@evil.test/webhookb2/1",
            "https://a:b@pinewood.webhook.office.com/webhookb2/1",
            "https://pinewood.webhook.office.com:8443/webhookb2/1",
            "https://pinewood.webhook.office.com/webhook/1",
            "https://pinewood.webhook.office.com/webhookb2/../x",
            "pinewood.webhook.office.com/webhookb2/1",
        ] {
            assert!(!is_ms_teams(bad), "{bad}");
        }
    }

    #[test]
    fn an_outbound_address_leads_out() {
        let name = |host: &str| Some(OutboundHost::Name(host.to_owned()));
        assert_eq!(outbound_host("https://hooks.pinewood.test/runs?x=1"), name("hooks.pinewood.test"));
        assert_eq!(outbound_host("https://HOOKS.pinewood.test:8443"), name("hooks.pinewood.test"));
        assert_eq!(outbound_host("https://hooks.pinewood.test./runs"), name("hooks.pinewood.test"));
        assert_eq!(outbound_host("https://93.184.215.14/"), Some(OutboundHost::Address));
        assert_eq!(outbound_host("https://[2606:4700::1111]/"), Some(OutboundHost::Address));
        for bad in [
            "http://hooks.pinewood.test/",
            "ftp://hooks.pinewood.test/",
            "https://a@hooks.pinewood.test/",
            "https://:b@hooks.pinewood.test/",
            "https://@hooks.pinewood.test/",
            "https://hooks.pinewood.test/ x",
            "https://hooks.pinewood\t.test/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://printer.local/",
            "https://metadata.google.internal/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://0x7f.0.0.1/",
            "https://0x7f000001/",
            "https://0/",
            "https://%31%32%37.0.0.1/",
            "https://１２７.0.0.1/",
            "https://10.0.0.7/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a00:7]/",
            "https://[::127.0.0.1]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[64:ff9b::10.0.0.7]/",
            "https://[2002:7f00:1::]/",
            "https:///x",
            "hooks.pinewood.test",
            "",
        ] {
            assert_eq!(outbound_host(bad), None, "{bad}");
        }
        let long = format!("https://hooks.pinewood.test/{}", "x".repeat(2_048));
        assert_eq!(outbound_host(&long), None);
    }

    #[test]
    fn internal_addresses_are_not_public() {
        for (ip, expected) in [
            ("0.1.2.3", false),
            ("10.255.255.255", false),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("127.255.255.254", false),
            ("169.253.0.1", true),
            ("169.254.0.1", false),
            ("172.15.0.1", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.0.0.1", false),
            ("192.0.1.1", true),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("192.169.1.1", true),
            ("198.17.0.1", true),
            ("198.18.0.1", false),
            ("198.19.0.1", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::8.8.8.8", false),
            ("::ffff:8.8.8.8", true),
            ("::ffff:192.168.0.1", false),
            ("64:ff9b::8.8.8.8", true),
            ("64:ff9b::127.0.0.1", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:1ff::1", false),
            ("2001:200::1", true),
            ("2001:db8::1", false),
            ("2002:808:808::1", true),
            ("2002:a00:1::1", false),
            ("2606:4700::1111", true),
            ("3fff::1", false),
            ("fc00::1", false),
            ("fdff::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
