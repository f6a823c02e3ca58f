-- The gateway takes payments for the platform (docs/billing.md), with the rights of the function's owner and no others.
ALTER FUNCTION public.billing_record_payment(text, uuid, date, numeric, text, timestamptz, timestamptz)
    SECURITY DEFINER SET search_path = pg_catalog;
