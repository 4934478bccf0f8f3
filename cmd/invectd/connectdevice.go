package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/invectd/invectd/socket/client"
)

// deviceInterval is how often the daemon is asked how a device grant stands. It
// polls the provider at the provider's own pace.
const deviceInterval = time.Second

// connectDevice goes through the device grant of RFC 8628.
func (f *connectFlags) connectDevice(ctx context.Context, c *client.Client, request client.StartRequest) (client.Credential, error) {
	started, err := c.StartDevice(ctx, client.DeviceRequest{
		ProviderID: request.ProviderID, ClientID: request.ClientID, ClientSecret: request.ClientSecret, Scopes: request.Scopes,
		CredentialName: request.CredentialName, ExistingCredentialID: request.ExistingCredentialID, Inputs: request.Inputs,
	})
	if err != nil {
		return client.Credential{}, err
	}
	f.showCode(started)
	waiting, cancel := context.WithDeadlineCause(ctx, earliest(started.ExpiresAt, time.Now().Add(f.timeout)), errNoConsent)
	defer cancel()
	status, err := f.awaitDevice(waiting, c, started)
	if err == nil {
		return deviceOutcome(ctx, c, started, status)
	}
	if ctx.Err() == nil && !errors.Is(err, errNoConsent) {
		return client.Credential{}, fmt.Errorf("it is not known whether somebody consented, see `invectd show %s`: %w", started.CredentialID, err)
	}
	return client.Credential{}, f.abandon(ctx, c, started, err)
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// showCode prints what the person needs. Nothing of it reaches the terminal with
// control characters.
func (f *connectFlags) showCode(started client.StartedDevice) {
	fmt.Fprintf(f.stderr, "Open this on any device:\n\n  %s\n\nand enter the code:\n\n  %s\n\n",
		printable(started.VerificationURI), printable(started.UserCode))
	if started.VerificationURIComplete != "" {
		fmt.Fprintf(f.stderr, "This address has the code in it:\n\n  %s\n\n", printable(started.VerificationURIComplete))
	}
}

// awaitDevice waits until the flow has ended, and shows on a terminal how long it
// still may.
func (f *connectFlags) awaitDevice(ctx context.Context, c *client.Client, started client.StartedDevice) (status string, err error) {
	tick := time.NewTicker(deviceInterval)
	defer tick.Stop()
	_, shows := terminal(f.stderr)
	defer f.endLine(shows)
	for {
		f.showLeft(ctx, shows)
		flow, err := c.DeviceFlow(ctx, started.DeviceFlowID)
		switch {
		case ctx.Err() != nil: // below
		case err != nil:
			return "", err
		case flow.Status != "pending":
			return flow.Status, nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errNoConsent) {
				return "", errNoConsent
			}
			return "", errInterrupted
		case <-tick.C:
		}
	}
}

// deviceOutcome returns the credential of a flow that has ended, or why there is
// none.
func deviceOutcome(ctx context.Context, c *client.Client, started client.StartedDevice, status string) (client.Credential, error) {
	credential, err := c.Credential(ctx, started.CredentialID)
	if err != nil || status == "complete" {
		return credential, err
	}
	reason := strings.TrimSuffix(orEmpty(credential.StatusReason), "; start again")
	if status == "denied" {
		return client.Credential{}, &client.Error{Code: "access_denied", Message: "access was not granted: " + reason}
	}
	return client.Credential{}, fmt.Errorf("nothing was connected: %s", reason)
}

// abandon ends a flow that nobody waits for any more: the credential that was
// made for it goes. One that was there before stays, and so does what somebody
// consented to at the last moment.
func (f *connectFlags) abandon(ctx context.Context, c *client.Client, started client.StartedDevice, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pageTimeout)
	defer cancel()
	if f.existing == "" {
		credential, err := c.Credential(ctx, started.CredentialID)
		if err == nil && credential.Generation == 0 {
			err = c.DeleteCredential(ctx, started.CredentialID, false)
		}
		if err == nil && credential.Generation == 0 {
			return why
		}
	}
	return fmt.Errorf("nobody waits here any more, but the code is good until %s, and the daemon waits for it: see `invectd show %s`",
		started.ExpiresAt.Local().Format(time.TimeOnly), started.CredentialID)
}
