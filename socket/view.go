package socket

import (
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// credentialOf is what operators see of a credential: secrets masked.
func credentialOf(v broker.View) client.Credential {
	c := client.Credential{
		ID:            string(v.ID),
		Name:          v.Name,
		Type:          v.Type,
		AuthType:      string(v.AuthType),
		Provider:      orNull(v.Provider),
		Description:   orNull(v.Description),
		Config:        v.Config.Masked(),
		IsActive:      v.IsActive,
		IsShared:      v.IsShared,
		WorkspaceID:   orNull(v.WorkspaceID),
		Metadata:      v.Metadata,
		Status:        string(v.Status),
		StatusReason:  orNull(v.StatusReason),
		Generation:    v.Generation,
		NextRefreshAt: timeOrNull(v.NextRefreshAt),
		LastRefreshAt: timeOrNull(v.LastRefreshAt),
		LastUsedAt:    timeOrNull(v.LastUsedAt),
		CreatedAt:     wireTime(v.CreatedAt),
		UpdatedAt:     wireTime(v.UpdatedAt),
	}
	if !v.ExpiresAt.IsZero() {
		// In whole seconds, as the config and a token have it.
		c.ExpiresAt = new(v.ExpiresAt.UTC().Truncate(time.Second))
	}
	if c.Metadata == nil {
		c.Metadata = map[string]any{}
	}
	return c
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(wireTime(t))
}

// wireTime cuts a time to milliseconds: all that JavaScript's Date has.
func wireTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// appOf is what operators see of an app: secrets masked.
func appOf(a broker.App) client.App {
	return client.App{
		ProviderID:   a.ProviderID,
		ClientID:     a.Client.ID,
		ClientSecret: maskOf(a.Client.Secret),
		PrivateKey:   maskOf(a.Client.PrivateKey),
		PrivateKeyID: a.Client.PrivateKeyID,
		Certificate:  a.Client.Certificate,
		Inputs:       a.Inputs,
	}
}

func maskOf(s broker.Secret) string {
	if s.Empty() {
		return ""
	}
	return broker.Mask
}
