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
            Err(cause) if is_missing(&cause) => missing = Some((address, cause)),
            Err(cause) => return Err(StartError::Bind { option, address, cause }),
        }
    }
    match missing {
        Some((address, cause)) if addresses.is_empty() => Err(StartError::Bind { option, address, cause }),
        Some((address, cause)) => {
            tracing::info!(%cause, "{option}: {address} is no address of this machine; the others of the name are served");
            Ok(Bound { listeners: Listeners::new(sockets), addresses })
        }
        None => Ok(Bound { listeners: Listeners::new(sockets), addresses }),
    }
}

/// Whether this machine lacks the address: a name may have `::1` where IPv6 is off.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_get_one_port_and_those_that_the_machine_lacks_are_passed_over() {
        let wanted = addresses(&["203.0.113.1:0", "127.0.0.1:0", "127.0.0.2:0"]);
        let bound = bind("--listen", wanted.into_iter()).await.unwrap();
        let port = bound.address().port();
        assert_eq!(bound.address().to_string(), format!("127.0.0.1:{port}"));
        assert_eq!(bound.others(), addresses(&[&format!("127.0.0.2:{port}")]));
        assert!(bound.is_loopback());
        let taken = bind("--listen", std::iter::once(bound.address())).await;
        assert!(matches!(taken, Err(StartError::Bind { option: "--listen", .. })));
        let nothing = bind("--admin-listen", addresses(&["203.0.113.1:0"]).into_iter()).await;
        assert!(matches!(nothing, Err(StartError::Bind { option: "--admin-listen", .. })));
    }
}
