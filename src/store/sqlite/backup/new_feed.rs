//! New ids of the feeds of a restored copy, where the feeds of the original may have gone on: a cursor of one of the two is
//! refused by the other.

use std::path::Path;

use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::BackupError;
use super::copy::private_options;
use crate::domain::{FeedId, Result};
use crate::store::ProjectNumber;
use crate::store::history::random_id;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::projects;
use crate::store::sqlite::store_row::StoreRow;

/// Gives the feed of each project a new id. The file must be this process's alone.
pub async fn give_new_feeds(path: &Path) -> Result<(), BackupError> {
    let mut connection = private_options(path).connect().await.map_err(|error| BackupError::sqlite(path, error))?;
    change(&mut connection).await.map_err(|error| BackupError::content(path, error))?;
    connection.close().await.map_err(|error| BackupError::sqlite(path, error))
}

async fn change(connection: &mut SqliteConnection) -> Result<()> {
    for project in projects::all(connection).await? {
        let feed = FeedId(random_id());
        if project.number == ProjectNumber::DEFAULT {
            let mut row = StoreRow::read(connection).await?;
            row.feed_id = i64::from(feed.0);
            row.write(connection).await.map_err(from_sqlx)?;
        } else {
            projects::write_feed(connection, project.number, feed).await?;
        }
    }
    Ok(())
}
