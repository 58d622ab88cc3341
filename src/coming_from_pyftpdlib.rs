#![doc = include_str!("coming_from_pyftpdlib.md")]

#[allow(unused_imports, reason = "the text above links to them")]
use crate::{
    proto::{
        config::{Config, TlsPolicy},
        custom::{Access, Answer, Argument, CustomVerb},
        event::{Event, TransferEvent},
        failure::Failure,
        file::Entry,
        job::StoreMode,
        path::VirtualPath,
        user::{Grant, Permission, PermissionSet},
    },
    server::{
        Builder, Handle, Request, Server, SessionInfo, SessionSnapshot, Settings, TlsBuilder, TlsSettings, TransferSnapshot,
        auth::{Account, Authorizer, Denied, Password, User, UserTable},
        fs::{Directory, FileSystem, Local, Recoded},
        runtime::Runtime,
    },
};
