//! The users of the configuration, with their homes opened.
use super::{
    options::{EncodingOptions, FileOptions, Options, UserOptions},
    owners::HostNames,
    problem::Problem,
};
use std::sync::Arc;
use wharf::server::{
    auth::table::User,
    fs::{FileSystem, Local, Recoded},
};

/// Opens the homes of all users: what is missing is told before anything is bound.
pub(super) fn open(options: &Options) -> Result<Vec<User>, Problem> {
    options.users.iter().map(|user| open_one(user, &options.files)).collect()
}

fn open_one(user: &UserOptions, options: &FileOptions) -> Result<User, Problem> {
    files(user, options).map(|files| with_files(user, files))
}

/// Opens the home of a user.
pub(super) fn files(user: &UserOptions, options: &FileOptions) -> Result<Arc<dyn FileSystem>, Problem> {
    let home = Local::open(&user.home).map_err(|error| Problem::new(user.home_place.clone(), error.to_string()))?;
    let home = home
        .with_symlinks(options.symlinks)
        .with_atomic_uploads(options.atomic_uploads)
        .with_fsync(options.fsync)
        .with_names(HostNames);
    Ok(match &options.encoding {
        None => Arc::new(home),
        Some(EncodingOptions { encoding, place }) => {
            let recoded = Recoded::new(home, encoding.name());
            Arc::new(recoded.map_err(|error| Problem::new(place.clone(), error.to_string()))?)
        }
    })
}

/// The user with these files.
pub(super) fn with_files(user: &UserOptions, files: Arc<dyn FileSystem>) -> User {
    let opened = User::new(user.name.clone(), user.password.clone(), files)
        .with_permissions(user.permissions)
        .with_messages(user.msg_login.as_str(), user.msg_quit.as_str())
        .with_limits(user.read_limit, user.write_limit)
        .with_tls_required(user.tls_required);
    user.overrides.iter().cloned().fold(opened, User::with_override)
}
