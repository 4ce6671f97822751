//! A handle on the TCP connection under a socket, to cut it.
//!
//! actix-web ends an upgraded connection only once everything is written. A client that does not read would keep it,
//! with all that waits to be written, for as long as it likes. So the server remembers each connection as it is
//! accepted, and the socket that gives a client up cuts it.
//!
//! **Invariant:** the handle lives as long as the connection and no longer: what outlives it holds a [`Weak`].

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;

/// A connection that can be cut.
pub(super) struct Connection(TcpStream);

/// Remembers a connection: give it to [`actix_web::HttpServer::on_connect`]. It costs one file descriptor for each
/// connection. Without it a client that does not read is still dropped with its operations, but its connection stays
/// until the operating system gives it up.
pub fn remember(connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() else { return };
    match stream.as_fd().try_clone_to_owned() {
        Ok(handle) => {
            data.insert(Arc::new(Connection(TcpStream::from(handle))));
        }
        Err(error) => tracing::warn!(%error, "a connection was accepted that cannot be cut"),
    }
}

/// The connection that a request came by.
pub(super) fn of(http: &HttpRequest) -> Weak<Connection> {
    http.conn_data::<Arc<Connection>>().map(Arc::downgrade).unwrap_or_default()
}

/// Cuts the connection, if it still lives.
pub(super) fn cut(connection: &Weak<Connection>) {
    if let Some(connection) = connection.upgrade() {
        // An error means that it is not connected any more.
        let _cut = connection.0.shutdown(Shutdown::Both);
    }
}
