//! The commands, one file each.

pub(crate) mod call;
pub(crate) mod claims;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod exec_child;
pub(crate) mod get;
pub(crate) mod host;
pub(crate) mod keys;
pub(crate) mod label;
pub(crate) mod link;
pub(crate) mod par;
pub(crate) mod pull;
pub(crate) mod push;
mod running;
pub(crate) mod scale;
pub(crate) mod spy;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod up;
pub(crate) mod update;
