package sandbox

import (
	"context"
	"errors"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// device is a device authorization request (RFC 8628).
type device struct {
	userCode string
	// state is replaced, never changed: the library reads it without a lock.
	// Its address tells which device a token request is for.
	state *op.DeviceAuthorizationState
}

func (s *storage) StoreDeviceAuthorization(_ context.Context, clientID, deviceCode, userCode string, expires time.Time, scopes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(time.Now())
	if s.device(userCode) != nil {
		return op.ErrDuplicateUserCode
	}
	s.devices[deviceCode] = &device{userCode: userCode, state: &op.DeviceAuthorizationState{
		ClientID: clientID,
		Audience: []string{clientID},
		Scopes:   withOfflineAccess(scopes),
		Expires:  expires,
	}}
	return nil
}

func (s *storage) GetDeviceAuthorizatonState(_ context.Context, _, deviceCode string) (*op.DeviceAuthorizationState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[deviceCode]
	if d == nil {
		return nil, errors.New("the device code is unknown or was used already")
	}
	return d.state, nil
}

// device returns the undecided request with that user code, or nil. The caller
// holds mu.
func (s *storage) device(userCode string) *device {
	for _, d := range s.devices {
		if d.userCode == userCode && !d.state.Done && !d.state.Denied && time.Now().Before(d.state.Expires) {
			return d
		}
	}
	return nil
}

// pendingDevice returns the scopes that an undecided device asks for.
func (s *storage) pendingDevice(userCode string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.device(userCode)
	if d == nil {
		return nil, errUnknownRequest
	}
	return d.state.Scopes, nil
}

// decideDevice records the person's answer to a device, once.
func (s *storage) decideDevice(userCode string, allow bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.device(userCode)
	if d == nil {
		return errUnknownRequest
	}
	decided := *d.state
	decided.Done, decided.Denied = allow, !allow
	decided.Subject, decided.AuthTime = Person, time.Now()
	d.state = &decided
	return nil
}
