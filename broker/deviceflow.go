package broker

import (
	"encoding/json"
	"reflect"
	"strconv"
	"time"
)

// keyDeviceFlow is where the config of a credential has its device flow. It is
// the broker's own: nobody else writes it.
const keyDeviceFlow = "deviceFlow"

// A DeviceStatus says how far a device flow is.
type DeviceStatus string

// The states of a device flow, with the names of the contract.
const (
	DevicePending  DeviceStatus = "pending"
	DeviceComplete DeviceStatus = "complete"
	DeviceDenied   DeviceStatus = "denied"  // by the person, or by the provider for all of them
	DeviceExpired  DeviceStatus = "expired" // nobody consented in time, or what came of it is lost
)

// A DeviceFlow is a device grant (RFC 8628) under way, or how the last one of a
// credential ended.
type DeviceFlow struct {
	ID        string // of the flow, unique within its credential
	Status    DeviceStatus
	Code      Secret        // empty once it has ended
	Interval  time.Duration // between two polls, whole seconds
	ExpiresAt time.Time     // of the code; once it has ended, when that was
	Made      bool          // the credential was made for it
}

// DeviceFlow returns the device flow of a credential, or false if it has none.
func (c *Credential) DeviceFlow() (DeviceFlow, bool) {
	fields := c.Config.object(keyDeviceFlow)
	if len(fields) == 0 {
		return DeviceFlow{}, false
	}
	text := func(name string) string {
		s, _ := fields[name].(string)
		return s
	}
	number, _ := fields["interval"].(json.Number)
	seconds, _ := strconv.Atoi(number.String())
	ends, _ := time.Parse(time.RFC3339, text("expiresAt"))
	return DeviceFlow{
		ID: text("id"), Status: DeviceStatus(text("status")), Code: NewSecret(text("code")),
		Interval: time.Duration(seconds) * time.Second, ExpiresAt: ends, Made: fields["made"] == true,
	}, true
}

// SetDeviceFlow writes the device flow of a credential. One that has ended keeps
// no code.
func (c *Credential) SetDeviceFlow(d DeviceFlow) {
	fields := map[string]any{
		"id": d.ID, "status": string(d.Status), "expiresAt": d.ExpiresAt.UTC().Format(time.RFC3339),
		"interval": json.Number(strconv.Itoa(int(d.Interval / time.Second))), "made": d.Made,
	}
	if d.Status == DevicePending {
		fields["code"] = d.Code.Reveal()
	}
	c.Config = c.Config.With(keyDeviceFlow, fields)
	c.Renewable = c.renewable()
}

// awaitsDevice reports whether the next token is had by polling.
func (c *Credential) awaitsDevice() bool {
	d, ok := c.DeviceFlow()
	return ok && d.Status == DevicePending
}

func sameDeviceFlow(a, b Config) bool {
	return reflect.DeepEqual(a.object(keyDeviceFlow), b.object(keyDeviceFlow))
}

// AwaitsPerson reports whether the credential is polled for a person's consent on
// another device.
func (s Summary) AwaitsPerson() bool { return s.Status == StatusPending && !s.RetryAt.IsZero() }
