package client

import (
	"time"

	"github.com/invectd/invectd/broker"
)

// A Token is what a runner puts into a request. It holds a secret, so it is not
// for logs.
type Token struct {
	CredentialID string    `json:"credentialId"`
	Provider     string    `json:"provider,omitempty"` // "" outside OAuth2
	AccessToken  string    `json:"accessToken"`
	TokenType    string    `json:"tokenType"`       // "Bearer" or "ApiKey"
	Scope        string    `json:"scope,omitempty"` // separated by spaces
	ExpiresAt    time.Time `json:"expiresAt,omitzero"`
	ExpiresIn    *int64    `json:"expiresIn,omitempty"` // whole seconds; nil where nothing expires
	Generation   uint64    `json:"generation"`
	Degraded     bool      `json:"degraded,omitempty"` // lives, but not as long as asked for
}

// A Resolved credential is what an action sees of it. Its Config holds secrets.
type Resolved struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	Type     string         `json:"type"`
	AuthType string         `json:"authType"`
	Config   map[string]any `json:"config"`
}

// A Rejection says that an API answered 401 to the token of a generation.
type Rejection struct {
	Generation uint64 `json:"generation"`
}

// A Credential is what operators see. Values that are absent are nil, and null
// in JSON.
type Credential struct {
	ID            string         `json:"id"`
	Name          string         `json:"name"`
	Type          string         `json:"type"`
	AuthType      string         `json:"authType"`
	Provider      *string        `json:"provider"`
	Description   *string        `json:"description"`
	Config        map[string]any `json:"config,omitzero"` // secrets masked; nil in lists
	IsActive      bool           `json:"isActive"`
	IsShared      bool           `json:"isShared"`
	WorkspaceID   *string        `json:"workspaceId"`
	Metadata      map[string]any `json:"metadata"`
	Status        string         `json:"status"`
	StatusReason  *string        `json:"statusReason"`
	Generation    uint64         `json:"generation"`
	ExpiresAt     *time.Time     `json:"expiresAt"`
	NextRefreshAt *time.Time     `json:"nextRefreshAt"`
	LastRefreshAt *time.Time     `json:"lastRefreshAt"`
	LastUsedAt    *time.Time     `json:"lastUsedAt"`
	CreatedAt     time.Time      `json:"createdAt"`
	UpdatedAt     time.Time      `json:"updatedAt"`
}

// A CredentialInput creates a credential, or changes the fields that are given.
// Of Config the keys are merged: nil removes one.
type CredentialInput struct {
	Name        *string        `json:"name,omitempty"`
	Type        *string        `json:"type,omitempty"`
	AuthType    *string        `json:"authType,omitempty"`
	Provider    *string        `json:"provider,omitempty"` // only when creating
	Description *string        `json:"description,omitempty"`
	Config      map[string]any `json:"config,omitzero"`
	IsActive    *bool          `json:"isActive,omitempty"`
	IsShared    *bool          `json:"isShared,omitempty"`
	WorkspaceID *string        `json:"workspaceId,omitempty"`
	Metadata    map[string]any `json:"metadata,omitzero"`
}

// A Test tells whether a credential works.
type Test struct {
	Success bool   `json:"success"`
	Error   string `json:"error,omitempty"`
}

// A Provider is a definition in force and where it comes from.
type Provider = broker.SourcedDefinition

// An Acceptance is what the operator accepted of a provider's definition.
type Acceptance struct {
	ProviderID  string   `json:"providerId"`
	Origins     []string `json:"origins"`     // that secrets may be sent to
	Credentials int      `json:"credentials"` // that follow it and did not before
	App         bool     `json:"app"`         // whether a registered app follows it
}

// An App is the client registered with a provider. Keys are PEM. Answers have
// its secrets masked; a mask that is sent keeps what is stored.
type App struct {
	ProviderID   string            `json:"providerId"`
	ClientID     string            `json:"clientId"`
	ClientSecret string            `json:"clientSecret,omitempty"`
	PrivateKey   string            `json:"privateKey,omitempty"`
	PrivateKeyID string            `json:"privateKeyId,omitempty"`
	Certificate  string            `json:"certificate,omitempty"`
	Inputs       map[string]string `json:"inputs,omitempty"`
}

// A StartRequest begins an authorization-code flow.
type StartRequest struct {
	ProviderID           string            `json:"providerId,omitempty"`
	ClientID             string            `json:"clientId,omitempty"`
	ClientSecret         string            `json:"clientSecret,omitempty"`
	RedirectURI          string            `json:"redirectUri,omitempty"` // "" for the daemon's own callback
	Scopes               []string          `json:"scopes,omitzero"`       // nil for the provider's default ones
	ReturnURL            string            `json:"returnUrl,omitempty"`
	CredentialName       string            `json:"credentialName,omitempty"`
	ExistingCredentialID string            `json:"existingCredentialId,omitempty"` // the id or name of one to reconnect
	Inputs               map[string]string `json:"inputs,omitempty"`
	Params               map[string]string `json:"params,omitempty"` // more parameters of the authorization URL
}

// A Started flow is where to send the person.
type Started struct {
	AuthorizationURL string `json:"authorizationUrl"`
	State            string `json:"state"`
}

// A DeviceRequest begins a device grant.
type DeviceRequest struct {
	ProviderID           string            `json:"providerId,omitempty"`
	ClientID             string            `json:"clientId,omitempty"`
	ClientSecret         string            `json:"clientSecret,omitempty"`
	Scopes               []string          `json:"scopes,omitzero"` // nil for the provider's default ones
	CredentialName       string            `json:"credentialName,omitempty"`
	ExistingCredentialID string            `json:"existingCredentialId,omitempty"` // the id or name of one to reconnect
	Inputs               map[string]string `json:"inputs,omitempty"`
}

// A StartedDevice is what a person needs to consent on another device.
type StartedDevice struct {
	DeviceFlowID            string    `json:"deviceFlowId"`
	CredentialID            string    `json:"credentialId"` // pending until somebody consents
	UserCode                string    `json:"userCode"`
	VerificationURI         string    `json:"verificationUri"`
	VerificationURIComplete string    `json:"verificationUriComplete,omitempty"` // with the code in it
	ExpiresAt               time.Time `json:"expiresAt"`
}

// A DeviceFlow tells how a device grant stands.
type DeviceFlow struct {
	Status       string `json:"status"` // "pending", "complete", "denied" or "expired"
	CredentialID string `json:"credentialId"`
}

// A CallbackRequest hands on what the browser brought back.
type CallbackRequest struct {
	Code         string `json:"code"`
	State        string `json:"state"`
	Issuer       string `json:"iss,omitempty"`
	ClientID     string `json:"clientId,omitempty"`     // ignored
	ClientSecret string `json:"clientSecret,omitempty"` // ignored
	RedirectURI  string `json:"redirectUri,omitempty"`  // if given, that of the start
	// Params are the further parameters of the redirect, such as QuickBooks'
	// realmId. Those that the provider's definition does not ask for are ignored.
	Params map[string]string `json:"params,omitempty"`
}

// A Status tells how the daemon is.
type Status struct {
	Version       string            `json:"version"`
	UptimeSeconds int64             `json:"uptimeSeconds"`
	Listeners     map[string]string `json:"listeners"` // "socket", "callback", "metrics": where they are
	Store         StoreStatus       `json:"store"`
	Audit         AuditStatus       `json:"audit"`
	Credentials   map[string]int    `json:"credentials"` // by status
	Providers     int               `json:"providers"`
	Plugins       int               `json:"plugins"`
	Problems      []Problem         `json:"problems"`
}

// A StoreStatus tells how the store is.
type StoreStatus struct {
	Writable        bool   `json:"writable"`
	Repairs         uint64 `json:"repairs"`         // since the start
	DamagedRecords  int    `json:"damagedRecords"`  // a problem names them
	OutdatedRecords int    `json:"outdatedRecords"` // under a data key from before a rotation
}

// An AuditStatus tells how the audit log is.
type AuditStatus struct {
	Writable bool   `json:"writable"`
	Altered  bool   `json:"altered"` // somebody changed it, as was seen since the start
	Line     uint64 `json:"line"`    // the number of the last line
	MAC      string `json:"mac"`     // of that line, in hex
}

// A Problem is something that the operator should see to.
type Problem struct {
	What  string    `json:"what"`
	Since time.Time `json:"since"`
	Todo  string    `json:"todo"`
}

// A Health tells whether the daemon can do its work.
type Health struct {
	Status string            `json:"status"` // "ok" or "unavailable"
	Checks map[string]string `json:"checks"` // each "ok" or "unavailable"
	// Error and Code are those of an [ErrorBody] where the status is not ok.
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
}

// A Version tells what is running.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

// A Usage tells how much a credential is read. The two counts of Invect's are
// always zero: flows and nodes are not known here.
type Usage struct {
	FlowsCount int        `json:"flowsCount"`
	NodesCount int        `json:"nodesCount"`
	LastUsedAt *time.Time `json:"lastUsedAt"` // nil if never
	ReadCount  uint64     `json:"readCount"`
}

// A TestRequest is one request to be sent by the daemon. With a credential's id
// its header is added, which goes to the API of its provider alone.
type TestRequest struct {
	URL          string            `json:"url"`
	Method       string            `json:"method,omitempty"` // GET
	Headers      map[string]string `json:"headers,omitempty"`
	Body         any               `json:"body,omitempty"` // a string as it is, else JSON
	CredentialID string            `json:"credentialId,omitempty"`
}

// A TestResponse is what an API answered to a [TestRequest].
type TestResponse struct {
	Status     int    `json:"status"`
	StatusText string `json:"statusText"`
	OK         bool   `json:"ok"`   // the status is a 2xx
	Body       any    `json:"body"` // JSON if it is, else a string
}

// An Event is what the stream of events tells in `data`; its type is in `event`.
type Event struct {
	CredentialID string    `json:"credentialId,omitempty"`
	ProviderID   string    `json:"providerId,omitempty"`
	Plugin       string    `json:"plugin,omitempty"`
	Status       string    `json:"status,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	At           time.Time `json:"at"`
}

// A Plugin is a program in the plugins folder.
type Plugin struct {
	Name      string   `json:"name"`
	Path      string   `json:"path"`
	Digest    string   `json:"digest"` // of the file as it is: "sha256:" and hex; "" if it cannot be read
	State     string   `json:"state"`  // running, untrusted, refused, quarantined or stopped
	Version   string   `json:"version"`
	Providers []string `json:"providers"`
	Restarts  int      `json:"restarts"`
	Hooks     []string `json:"hooks"`   // that it says it needs
	Granted   []string `json:"granted"` // that the operator granted
	Error     string   `json:"error"`   // what is wrong and what to do; "" if nothing is
}

// A PluginTrust is the operator's word for a plugin.
type PluginTrust struct {
	Digest string   `json:"digest,omitempty"` // if given, the file has to have it
	Hooks  []string `json:"hooks,omitempty"`  // granted from now on
}
