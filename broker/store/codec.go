package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unique"

	"github.com/invectd/invectd/broker"
)

// What records hold is JSON of the types below. They repeat those of the domain,
// which do not marshal their secrets.

// summaryFields are those of [broker.Summary]: the conversion between the two
// does not compile if they differ. The id and the revision are the envelope's.
type summaryFields struct {
	ID          broker.ID       `json:"-"`
	Name        string          `json:"name"`
	Type        string          `json:"type,omitempty"`
	AuthType    broker.AuthType `json:"authType"`
	Provider    string          `json:"provider,omitempty"`
	WorkspaceID string          `json:"workspaceId,omitempty"`
	IsActive    bool            `json:"isActive"`
	Status      broker.Status   `json:"status"`
	Generation  uint64          `json:"generation"`
	Revision    uint64          `json:"-"`
	IssuedAt    time.Time       `json:"issuedAt,omitzero"`
	ExpiresAt   time.Time       `json:"expiresAt,omitzero"`
	CreatedAt   time.Time       `json:"createdAt,omitzero"`
	Renewable   bool            `json:"renewable,omitempty"`
	RetryAt     time.Time       `json:"retryAt,omitzero"`
	Lazy        bool            `json:"lazy,omitempty"`
	Origins     string          `json:"origins,omitempty"`
	Intent      *broker.Intent  `json:"intent,omitempty"`

	Hindrance string `json:"-"` // of this moment, and no fact of the credential's
}

type bodyFields struct {
	StatusReason  string         `json:"statusReason,omitempty"`
	Description   string         `json:"description,omitempty"`
	IsShared      bool           `json:"isShared,omitempty"`
	Config        map[string]any `json:"config"`
	Metadata      map[string]any `json:"metadata"`
	UpdatedAt     time.Time      `json:"updatedAt,omitzero"`
	LastRefreshAt time.Time      `json:"lastRefreshAt,omitzero"`
	LastUsedAt    time.Time      `json:"lastUsedAt,omitzero"`
	ReadCount     uint64         `json:"readCount,omitempty"`
}

type clientFields struct {
	ID           string `json:"id,omitempty"`
	Secret       string `json:"secret,omitempty"`
	PrivateKey   string `json:"privateKey,omitempty"`
	PrivateKeyID string `json:"privateKeyId,omitempty"`
	Certificate  string `json:"certificate,omitempty"`
}

type authorizationFields struct {
	State          string            `json:"state"`
	Definition     broker.Definition `json:"definition"`
	Client         clientFields      `json:"client"`
	RedirectURI    string            `json:"redirectUri"`
	Scopes         []string          `json:"scopes"`
	Inputs         map[string]string `json:"inputs"`
	Params         map[string]string `json:"params,omitempty"`
	Verifier       string            `json:"verifier,omitempty"`
	ReturnURL      string            `json:"returnUrl,omitempty"`
	CredentialName string            `json:"credentialName,omitempty"`
	CredentialID   broker.ID         `json:"credentialId,omitempty"`
	StartedBy      broker.Caller     `json:"startedBy"`
	ExpiresAt      time.Time         `json:"expiresAt"`
}

type appFields struct {
	Client  clientFields      `json:"client"`
	Inputs  map[string]string `json:"inputs"`
	Origins string            `json:"origins,omitempty"`
}

// normal returns c as it is read back: times in UTC, without a monotonic clock.
func normal(c broker.Credential) broker.Credential {
	for _, t := range []*time.Time{
		&c.IssuedAt, &c.ExpiresAt, &c.RetryAt, &c.CreatedAt, &c.UpdatedAt, &c.LastRefreshAt, &c.LastUsedAt,
	} {
		*t = t.Round(0).UTC()
	}
	if c.Intent != nil {
		c.Intent = &broker.Intent{Generation: c.Intent.Generation, At: c.Intent.At.Round(0).UTC()}
	}
	return c
}

func encodeSummary(s *broker.Summary, body [tagSize]byte) ([]byte, error) {
	encoded, err := json.Marshal(summaryFields(*s))
	if err != nil {
		return nil, fmt.Errorf("encoding credential %q: %w", s.ID, err)
	}
	return append(body[:], encoded...), nil
}

func decodeSummary(r *record, plaintext []byte) (broker.Summary, [tagSize]byte, error) {
	if len(plaintext) < tagSize {
		return broker.Summary{}, [tagSize]byte{}, errContent
	}
	var fields summaryFields
	if err := json.Unmarshal(plaintext[tagSize:], &fields); err != nil {
		return broker.Summary{}, [tagSize]byte{}, errContent
	}
	fields.ID, fields.Revision = broker.ID(r.place.id), r.revision
	fields.Origins = unique.Make(fields.Origins).Value() // a hundred thousand credentials share a few
	return broker.Summary(fields), [tagSize]byte(plaintext[:tagSize]), nil
}

// errContent says that what was sealed is not what this version writes. The
// text of a JSON error is not shown, since it may quote the content.
var errContent = errors.New("holds something that this invectd cannot read")

func encodeBody(c *broker.Credential) ([]byte, error) {
	encoded, err := json.Marshal(bodyFields{
		StatusReason: c.StatusReason, Description: c.Description, IsShared: c.IsShared,
		Config: c.Config.Reveal(), Metadata: c.Metadata,
		UpdatedAt: c.UpdatedAt, LastRefreshAt: c.LastRefreshAt,
		LastUsedAt: c.LastUsedAt, ReadCount: c.ReadCount,
	})
	if err != nil {
		return nil, fmt.Errorf("credential %q has values that JSON does not", c.ID)
	}
	return encoded, nil
}

// decodeBody returns a credential without its summary.
func decodeBody(plaintext []byte) (broker.Credential, error) {
	var fields bodyFields
	decoder := json.NewDecoder(bytes.NewReader(plaintext))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return broker.Credential{}, errContent
	}
	return broker.Credential{
		StatusReason: fields.StatusReason, Description: fields.Description, IsShared: fields.IsShared,
		Config: broker.NewConfig(fields.Config), Metadata: fields.Metadata,
		UpdatedAt: fields.UpdatedAt, LastRefreshAt: fields.LastRefreshAt,
		LastUsedAt: fields.LastUsedAt, ReadCount: fields.ReadCount,
	}, nil
}

func clientToFields(c broker.Client) clientFields {
	return clientFields{c.ID, c.Secret.Reveal(), c.PrivateKey.Reveal(), c.PrivateKeyID, c.Certificate}
}

func (c clientFields) client() broker.Client {
	return broker.Client{
		ID: c.ID, Secret: broker.NewSecret(c.Secret), PrivateKey: broker.NewSecret(c.PrivateKey),
		PrivateKeyID: c.PrivateKeyID, Certificate: c.Certificate,
	}
}

func authorizationToFields(a broker.Authorization) authorizationFields {
	return authorizationFields{
		State: a.State, Definition: a.Definition, Client: clientToFields(a.Client),
		RedirectURI: a.RedirectURI, Scopes: a.Scopes, Inputs: a.Inputs, Params: a.Params, Verifier: a.Verifier.Reveal(),
		ReturnURL: a.ReturnURL, CredentialName: a.CredentialName, CredentialID: a.CredentialID,
		StartedBy: a.StartedBy, ExpiresAt: a.ExpiresAt.Round(0).UTC(),
	}
}

func (f authorizationFields) authorization() broker.Authorization {
	return broker.Authorization{
		State: f.State, Definition: f.Definition, Client: f.Client.client(),
		RedirectURI: f.RedirectURI, Scopes: f.Scopes, Inputs: f.Inputs, Params: f.Params, Verifier: broker.NewSecret(f.Verifier),
		ReturnURL: f.ReturnURL, CredentialName: f.CredentialName, CredentialID: f.CredentialID,
		StartedBy: f.StartedBy, ExpiresAt: f.ExpiresAt,
	}
}
