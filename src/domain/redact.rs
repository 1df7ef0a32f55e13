//! Addresses without their secrets. Page, network and repository addresses may hold passwords and tokens; these never
//! reach the store. Everything else stays as it was sent, byte for byte. Source: API reference, ingest 9, no. 22.

use std::borrow::Cow;

use url::Url;
use url::form_urlencoded;

/// What stands where a secret was.
pub const MASK: &str = "****";

/// How often user-info is looked for in what is left of an address.
const ROUNDS_MAX: usize = 8;

/// Parts of a parameter's name (without separators, lower case) that mark its value as a credential.
const TELLING_PARTS: [&str; 11] = [
    "token",
    "secret",
    "passw",
    "pwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "signature",
    "cookie",
];
/// Names (without separators, lower case) that mark a value as a credential.
const TELLING_NAMES: [&str; 12] = [
    "auth",
    "authorization",
    "oauth",
    "key",
    "pass",
    "sig",
    "sid",
    "session",
    "sessionid",
    "jwt",
    "hmac",
    "bearer",
];

/// `address` without user-info, and with the values of credential-looking parameters (in the query and in the
/// fragment) replaced by [`MASK`]. Takes anything: what is not an address comes back unchanged.
#[must_use]
pub fn address(address: &str) -> Cow<'_, str> {
    let stripped = strip_user_info(address);
    if !stripped.contains('=') {
        return stripped;
    }
    let Some(parameters_start) = stripped.find(['?', '#']) else { return stripped };
    let (head, parameters) = stripped.split_at(parameters_start);
    if !parameters.split(is_separator).any(is_credential) {
        return stripped;
    }
    let mut masked = String::with_capacity(stripped.len());
    masked.push_str(head);
    for part in parameters.split_inclusive(is_separator) {
        let (parameter, separator) = match part.char_indices().next_back() {
            Some((at, last)) if is_separator(last) => part.split_at(at),
            _ => (part, ""),
        };
        match parameter.split_once('=') {
            Some((name, _)) if is_credential(parameter) => {
                masked.push_str(name);
                masked.push('=');
                masked.push_str(MASK);
            }
            _ => masked.push_str(parameter),
        }
        masked.push_str(separator);
    }
    Cow::Owned(masked)
}

fn is_separator(character: char) -> bool {
    matches!(character, '?' | '#' | '&' | ';')
}

/// Whether `parameter` (`name=value`, still encoded) has a value that its name says is a credential.
fn is_credential(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    if value.is_empty() {
        return false;
    }
    let Some((decoded, _)) = form_urlencoded::parse(name.as_bytes()).next() else { return false };
    // A path inside a fragment (`#/login/access_token=…`) ends before the name.
    let name = decoded.rsplit('/').next().unwrap_or(&decoded);
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    TELLING_NAMES.contains(&plain.as_str()) || TELLING_PARTS.iter().any(|part| plain.contains(part))
}

/// Removes user-info until there is none: what is left may again read as an address with some. An address that is made
/// of nothing else is masked whole.
fn strip_user_info(address: &str) -> Cow<'_, str> {
    let mut stripped = strip_once(address);
    for _ in 0..ROUNDS_MAX {
        let again = strip_once(&stripped);
        if again == stripped {
            return stripped;
        }
        stripped = Cow::Owned(again.into_owned());
    }
    Cow::Borrowed(MASK)
}

/// Removes user-info from the text itself, so that the rest stays as it was written; if a browser would still see
/// user-info in it, the address is written anew without it.
fn strip_once(address: &str) -> Cow<'_, str> {
    if !address.contains('@') {
        return Cow::Borrowed(address);
    }
    let authority_start = match address.find("://") {
        Some(at) => at + 3,
        None if address.starts_with("//") => 2,
        None => return strip_unusual(address),
    };
    let (scheme, rest) = address.split_at(authority_start);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rfind('@').and_then(|at| rest.get(at + 1..)) {
        Some(rest) => without_parsed_user_info(&format!("{scheme}{rest}")).into_owned().into(),
        None => without_parsed_user_info(address),
    }
}

/// An address without `//`: a browser may read one all the same (`https:\\user@host`), and people write
/// `user:password@host/path`. `git@host:path` has nothing to hide.
fn strip_unusual(address: &str) -> Cow<'_, str> {
    match without_parsed_user_info(address) {
        // The last one counts: a password may hold others.
        Cow::Borrowed(same) => match same.split('/').next().and_then(|head| head.rsplit_once('@')) {
            Some((head, _)) if head.contains(':') => Cow::Borrowed(same.get(head.len() + 1..).unwrap_or("")),
            _ => Cow::Borrowed(same),
        },
        rewritten => rewritten,
    }
}

fn without_parsed_user_info(address: &str) -> Cow<'_, str> {
    match Url::parse(address) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            // Both fail only for addresses that cannot have user-info, and this one has.
            let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
            Cow::Owned(if cleared { url.into() } else { MASK.to_owned() })
        }
        _ => Cow::Borrowed(address),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(sent: &str, kept: &str) {
        assert_eq!(address(sent), kept, "{sent}");
    }

    #[test]
    fn user_info_is_removed() {
        check("https://bob:pw@git.test/shop/web.git", "https://git.test/shop/web.git");
        check("https://ghp_123@git.test/shop/web.git", "https://git.test/shop/web.git");
        check("https://a@b:c@git.test/x", "https://git.test/x");
        check("ssh://git@git.test:22/x.git", "ssh://git.test:22/x.git");
        check("bob:pw@git.test/x", "git.test/x");
        check("https:\\\\bob:pw@git.test\\x", "https://git.test/x");
        check("HTTPS:/bob:pw@git.test/x", "https://git.test/x");
        check("//bob:pw@git.test/x", "//git.test/x");
    }

    #[test]
    fn credentials_in_parameters_are_masked() {
        check("https://s.test/?access_token=abc&page=2", "https://s.test/?access_token=****&page=2");
        check("https://s.test/cb#id_token=abc;state=1", "https://s.test/cb#id_token=****;state=1");
        check("https://s.test/?API-Key=abc", "https://s.test/?API-Key=****");
        check("https://s.test/?pass%77ord=abc", "https://s.test/?pass%77ord=****");
        check(
            "https://s.test/?X-Amz-Signature=1&X-Amz-Credential=2",
            "https://s.test/?X-Amz-Signature=****&X-Amz-Credential=****",
        );
        check("/relative?sig=abc", "/relative?sig=****");
        check("https://s.test/#/login?key=abc", "https://s.test/#/login?key=****");
        check("https://s.test/?token=a=b?c&x=1", "https://s.test/?token=****?c&x=1");
    }

    #[test]
    fn everything_else_stays_as_it_was_sent() {
        for sent in [
            "",
            "about:blank",
            "chrome-error://chromewebdata/",
            "shop/web",
            "git@git.test:shop/web.git",
            "https://s.test",
            "https://S.test/a b?q=1&author=x&keyword=y&token=#top",
            "https://s.test/@scope/pkg?at=a@b",
            "data:text/html,<p>a=b@c",
            "no address at all & key: x",
        ] {
            check(sent, sent);
        }
    }

    #[test]
    fn a_password_with_an_at_sign_is_removed_whole() {
        check("user:pa@ss@host/path", "host/path");
        check(":@:@", "");
        check("a:b@//c:d@host/path", "//host/path");
    }

    proptest! {
        #[test]
        fn no_address_keeps_a_secret(
            user in "[a-z%@:]{1,8}", host in "[a-z]{1,8}\\.test", path in "(/[a-z]{0,5}){0,3}",
        ) {
            let sent = format!("https://{user}S3CRET@{host}{path}?a=1&my_token=S3CRET");
            let kept = address(&sent);
            prop_assert!(!kept.contains("S3CRET"), "{} -> {}", sent, kept);
            prop_assert!(kept.contains(&host));
        }

        #[test]
        fn masking_again_changes_nothing(sent in "[a-z:/@?&#=;%2-4 ä\\\\]{0,40}") {
            let once = address(&sent).into_owned();
            prop_assert_eq!(address(&once), once.as_str());
        }
    }
}
