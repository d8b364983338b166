//! Binding the addresses of a listener.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use tokio::net::TcpListener;

use super::error::StartError;
use crate::transport::listeners::Listeners;

/// The sockets of a listener.
pub(crate) struct Bound {
    pub(super) listeners: Listeners,
    /// The bound addresses, at least one.
    addresses: Vec<SocketAddr>,
}

impl Bound {
    /// The first address, for logs and clients of this process.
    pub(super) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Whether only this machine reaches the addresses.
    pub(super) fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
    }

    /// The addresses behind the first.
    pub(super) fn others(&self) -> &[SocketAddr] {
        &self.addresses[1..]
    }
}

/// Binds all addresses. With port 0 all have the port that the system chose for the first.
pub(super) async fn bind(option: &'static str, wanted: impl Iterator<Item = SocketAddr>) -> Result<Bound, StartError> {
    let (mut sockets, mut addresses, mut missing) = (Vec::new(), Vec::<SocketAddr>::new(), None);
    for mut address in wanted {
        if let Some(first) = addresses.first().filter(|_| address.port() == 0) {
            address.set_port(first.port());
        }
        let bound = TcpListener::bind(address).await.and_then(|socket| Ok((socket.local_addr()?, socket)));
        match bound {
            Ok((bound, socket)) => {
                addresses.push(bound);
                sockets.push(socket);
            }
            Err(cause) if is_missing(address, &cause) => missing = Some((address, cause)),
            Err(cause) => return Err(StartError::Bind { option, address, cause }),
        }
    }
    if let Some((address, cause)) = missing {
        if addresses.is_empty() {
            return Err(StartError::Bind { option, address, cause });
        }
        tracing::info!(%cause, "{option}: {address} is no address of this machine; the others of the name are served");
    }
    Ok(Bound { listeners: Listeners::new(sockets), addresses })
}

/// Whether this machine lacks the address for good: a name may have `::1` where IPv6 is off. Another address may come up later, so
/// that a start without it fails and is tried again.
pub(super) fn is_missing(address: SocketAddr, error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::AFNOSUPPORT) => true,
        Some(Errno::ADDRNOTAVAIL) => address.ip().is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_get_one_port_and_one_that_is_not_up_yet_fails_the_start() {
        let wanted = addresses(&["127.0.0.1:0", "127.0.0.2:0"]);
        let bound = bind("--listen", wanted.into_iter()).await.unwrap();
        let port = bound.address().port();
        assert_eq!(bound.address().to_string(), format!("127.0.0.1:{port}"));
        assert_eq!(bound.others(), addresses(&[&format!("127.0.0.2:{port}")]));
        assert!(bound.is_loopback());
        let taken = bind("--listen", std::iter::once(bound.address())).await;
        assert!(matches!(taken, Err(StartError::Bind { option: "--listen", .. })));
        let partly = bind("--admin-listen", addresses(&["127.0.0.1:0", "203.0.113.1:0"]).into_iter()).await;
        assert!(matches!(partly, Err(StartError::Bind { option: "--admin-listen", .. })));
    }

    #[test]
    fn an_address_of_loopback_or_of_a_family_that_the_machine_lacks_is_passed_over() {
        let is_missing = |address: &str, errno: Errno| is_missing(address.parse().unwrap(), &errno.into());
        assert!(is_missing("[::1]:1", Errno::ADDRNOTAVAIL) && is_missing("[2001:db8::1]:1", Errno::AFNOSUPPORT));
        assert!(!is_missing("203.0.113.1:1", Errno::ADDRNOTAVAIL) && !is_missing("[::1]:1", Errno::ADDRINUSE));
    }
}
