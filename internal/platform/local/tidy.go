package local

import (
	"errors"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// expiredKept is how long an expired row goes on failing conditions before it is
// removed: as on DynamoDB, which takes days, so that nobody trusts it to be gone.
const expiredKept = 48 * time.Hour

// tidyEvery is how often a write removes what is over, and tidyRows how much of it.
const (
	tidyEvery = time.Minute
	tidyRows  = 100
)

// untidy says, once a minute, that the write at hand should tidy.
func (t *Table) untidy(now time.Time) bool {
	if now.Sub(t.tidied) < tidyEvery {
		return false
	}
	t.tidied = now
	return true
}

// tidy removes rows that expired long ago, tokens that stand for nothing any
// more, and changes that are too old to be kept.
func (t *Table) tidy(tx *tx, now time.Time) error {
	if _, err := tx.exec(`DELETE FROM tokens WHERE at <= ?`, now.Add(-platform.TokenKept).UnixMilli()); err != nil {
		return err
	}
	if err := t.feed.trim(tx, now); err != nil {
		return err
	}
	keys, err := expired(tx, now)
	if err != nil {
		return err
	}
	for _, key := range keys {
		old, err := t.stored(tx, key)
		if err != nil {
			return err
		}
		if err := t.set(tx, key, old, nil, now); err != nil {
			return err
		}
	}
	return nil
}

func expired(tx *tx, now time.Time) (keys []platform.RowKey, err error) {
	rows, err := tx.query(`SELECT pk, sk FROM rows WHERE expires <= ? ORDER BY expires LIMIT ?`,
		now.Add(-expiredKept).Unix(), tidyRows)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var pk, sk string
		if err := rows.Scan(&pk, &sk); err != nil {
			return nil, err
		}
		keys = append(keys, platform.StoredKey(pk, sk))
	}
	return keys, rows.Err()
}
