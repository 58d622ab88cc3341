//! What stands in for TLS in a build without it: nothing of it can exist.
use super::{super::std, Broken};
use alloc::{string::String, sync::Arc, vec::Vec};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// There are none.
#[derive(Clone, Debug)]
pub(in crate::server) enum TlsSettings {}

pub(in crate::server) enum Binding {}

pub(in crate::server) enum Codec {}

impl TlsSettings {
    pub(in crate::server) fn asks_for_certificates(&self) -> bool {
        match *self {}
    }
}

impl Binding {
    pub(in crate::server) fn new(settings: &TlsSettings, _: Option<&str>) -> Arc<Self> {
        match *settings {}
    }

    pub(in crate::server) fn control(&self) -> Result<Codec, Broken> {
        match *self {}
    }

    pub(in crate::server) fn data(&self) -> Result<Codec, Broken> {
        match *self {}
    }

    pub(in crate::server) fn bind(&self, _: &Codec) {
        match *self {}
    }

    pub(in crate::server) fn certificates(&self) -> Vec<Vec<u8>> {
        match *self {}
    }

    pub(in crate::server) fn accepts(&self, _: &Codec) -> Result<(), &'static str> {
        match *self {}
    }

    pub(in crate::server) fn is_strict(&self) -> bool {
        match *self {}
    }
}

impl Codec {
    pub(in crate::server) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(in crate::server) fn server_name(&self) -> Option<&str> {
        match *self {}
    }

    pub(in crate::server) fn agreed(&self) -> String {
        match *self {}
    }

    pub(in crate::server) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(in crate::server) fn feed(&mut self, _: &[u8]) -> Result<usize, Broken> {
        match *self {}
    }

    pub(in crate::server) fn failure(&mut self) -> Option<String> {
        match *self {}
    }

    pub(in crate::server) fn next_record<'a>(&self, _: &'a [u8]) -> &'a [u8] {
        match *self {}
    }

    pub(in crate::server) fn is_between_records(&self) -> bool {
        match *self {}
    }

    pub(in crate::server) fn is_clear(&self, _: &[u8]) -> bool {
        match *self {}
    }

    pub(in crate::server) fn has_plain(&self) -> bool {
        match *self {}
    }

    pub(in crate::server) fn take(&mut self, _: &mut [u8]) -> usize {
        match *self {}
    }

    pub(in crate::server) fn take_into(&mut self, _: &mut Vec<u8>) -> usize {
        match *self {}
    }

    pub(in crate::server) fn peer_has_closed(&self) -> bool {
        match *self {}
    }

    pub(in crate::server) fn seal(&mut self, _: &[u8]) -> Result<usize, Broken> {
        match *self {}
    }

    pub(in crate::server) fn close(&mut self) {
        match *self {}
    }

    pub(in crate::server) fn flush(&mut self, _: BorrowedFd<'_>, _: usize) -> Result<usize, Errno> {
        match *self {}
    }
}
