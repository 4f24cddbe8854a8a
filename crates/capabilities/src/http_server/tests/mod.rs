//! The HTTP server at real sockets, with a closure in the components' place.

mod lifecycle;
mod requests;
mod streaming;
