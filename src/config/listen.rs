//! The addresses of a listener.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Addresses of one listener, at least one: the address of a text such as `127.0.0.1:7800`, or all addresses of a name as in
/// `localhost:7800`. A name is looked up once, when the text is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddresses(Vec<SocketAddr>);

impl ListenAddresses {
    /// The addresses, in the order of the lookup.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().copied()
    }

    /// Whether only this machine reaches the addresses.
    #[must_use]
    pub fn are_loopback(&self) -> bool {
        self.iter().all(|address| address.ip().to_canonical().is_loopback())
    }

    /// Changes the port of all addresses.
    pub fn set_port(&mut self, port: u16) {
        self.0.iter_mut().for_each(|address| address.set_port(port));
    }
}

impl FromStr for ListenAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "it looks like 127.0.0.1:7800, [::1]:7800 or localhost:7800";
        if let Ok(address) = text.parse() {
            return Ok(Self(vec![address]));
        }
        let has_port = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
        if !text.rsplit_once(':').is_some_and(has_port) {
            return Err(FORM.to_owned());
        }
        let mut addresses = Vec::new();
        for address in text.to_socket_addrs().map_err(|error| format!("{error}; {FORM}"))? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(format!("the name has no address; {FORM}")) } else { Ok(Self(addresses)) }
    }
}

impl fmt::Display for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ListenAddresses, String> {
        text.parse()
    }

    #[test]
    fn an_address_or_a_name_with_a_port_is_listened_on() {
        for text in ["127.0.0.1:7800", "[::1]:7800", "0.0.0.0:0"] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
        let mut local = parsed("localhost:7800").unwrap();
        assert!(local.are_loopback() && local.iter().all(|address| address.port() == 7800), "{local}");
        local.set_port(0);
        assert!(local.iter().all(|address| address.port() == 0));
        for bad in ["", "localhost", ":7800", "127.0.0.1", "127.0.0.1:70000", "a b:1", "name.invalid:1"] {
            assert!(parsed(bad).unwrap_err().contains("it looks like 127.0.0.1:7800"), "{bad:?}");
        }
    }

    #[test]
    fn one_address_that_others_reach_makes_all_reachable() {
        let both = ListenAddresses(vec!["127.0.0.1:1".parse().unwrap(), "10.0.0.1:1".parse().unwrap()]);
        assert!(!both.are_loopback());
        assert_eq!(both.to_string(), "127.0.0.1:1, 10.0.0.1:1");
    }
}
