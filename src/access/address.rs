//! Which address a request counts for and is audited with. Source: API reference, identity 1.9.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A block of addresses, as `10.0.0.0/8`, `2001:db8::/32` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix_bits: u8,
}

/// The text is not a block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a network like 10.0.0.0/8")]
pub struct MalformedNetwork;

impl Network {
    /// Whether `address` is in this block. An IPv4 address mapped into IPv6 is its IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing_bits = match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                u128::from(first.to_bits() ^ address.to_bits()) << (u128::BITS - u32::BITS)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => first.to_bits() ^ address.to_bits(),
            _ => return false,
        };
        differing_bits.leading_zeros() >= u32::from(self.prefix_bits)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

impl FromStr for Network {
    type Err = MalformedNetwork;

    fn from_str(text: &str) -> Result<Self, MalformedNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(head, tail)| (head, Some(tail)));
        let first = address.parse::<IpAddr>().map_err(|_| MalformedNetwork)?;
        let bits_max = if first.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= bits_max).ok_or(MalformedNetwork)?,
        };
        Ok(Self { first, prefix_bits })
    }
}

/// The client's address: the socket's peer, unless that is a trusted proxy; then the right-most entry of
/// `X-Forwarded-For` that is none. Entries left of that are what the client claims. If all are trusted, or the
/// next one is no address, the farthest trusted one counts.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
            if !is_trusted(client) {
                return client;
            }
            match read_entry(entry) {
                Some(address) => client = address,
                None => return client,
            }
        }
    }
    client
}

/// An address with or without a port, as proxies write them: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
fn read_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<std::net::SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse());
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, forwarded: &[&str], client: &str) {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1"].map(|text| text.parse().unwrap());
        let found = client_address(peer.parse().unwrap(), &headers, &trusted);
        assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_one_step_each() {
        check("192.0.2.1", &[], "192.0.2.1");
        check("192.0.2.1", &["198.51.100.7"], "192.0.2.1");
        check("10.1.2.3", &[], "10.1.2.3");
        check("10.1.2.3", &["198.51.100.7"], "198.51.100.7");
        check("10.1.2.3", &["203.0.113.9, 198.51.100.7"], "198.51.100.7");
        check("10.1.2.3", &["203.0.113.9, 198.51.100.7,10.9.9.9 , 127.0.0.1"], "198.51.100.7");
        check("10.1.2.3", &["203.0.113.9", "198.51.100.7, 10.9.9.9"], "198.51.100.7");
        check("10.1.2.3", &["10.0.0.1, 10.0.0.2"], "10.0.0.1");
        check("10.1.2.3", &["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2");
        check("10.1.2.3", &[""], "10.1.2.3");
        check("10.1.2.3", &["198.51.100.7:4711"], "198.51.100.7");
        check("::ffff:10.1.2.3", &["::ffff:198.51.100.7"], "198.51.100.7");
        check("2001:db8:1:ffff::1", &["2001:db8:2::1"], "2001:db8:2::1");
        check("2001:db8:1::1", &["[2001:db8:2::1]:4711"], "2001:db8:2::1");
        check("2001:db8:1::1", &["[2001:db8:2::1]"], "2001:db8:2::1");
    }

    #[test]
    fn networks_are_read_strictly_and_hold_their_edges() {
        for text in ["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0/8", "localhost"] {
            assert_eq!(text.parse::<Network>(), Err(MalformedNetwork), "{text}");
        }
        let check = |network: &str, inside: &[&str], outside: &[&str]| {
            let network = network.parse::<Network>().unwrap();
            for (addresses, expected) in [(inside, true), (outside, false)] {
                for address in addresses {
                    assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?} {address}");
                }
            }
        };
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.0.0.1"],
            &["11.0.0.0", "9.255.255.255"],
        );
        check("192.0.2.130/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127"]);
        check("192.0.2.1", &["192.0.2.1"], &["192.0.2.0", "2001:db8::1"]);
        check("0.0.0.0/0", &["192.0.2.1"], &["2001:db8::1"]);
        check("::/0", &["2001:db8::1"], &["192.0.2.1"]);
        check("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::1"]);
    }
}
