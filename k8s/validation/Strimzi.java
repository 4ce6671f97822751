// Reads Strimzi's resources into the types that the operator reads them into, and refuses what those do not know.
//
// Called with a file of a JSON array of resources; prints one line for each fault. A field that the types do not have is
// refused by Jackson. A value that they do not have (of an enum) becomes null, so it is missed when the resource is
// written again and compared. Ranges and required fields, which the operator's schema has beside the types, are not seen.

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.introspect.Annotated;
import com.fasterxml.jackson.databind.introspect.JacksonAnnotationIntrospector;
import io.strimzi.api.kafka.model.kafka.Kafka;
import io.strimzi.api.kafka.model.nodepool.KafkaNodePool;
import io.strimzi.api.kafka.model.topic.KafkaTopic;
import io.strimzi.api.kafka.model.user.KafkaUser;
import java.io.File;
import java.util.Map;

class Strimzi {
    static final Map<String, Class<?>> KINDS =
        Map.of("Kafka", Kafka.class, "KafkaNodePool", KafkaNodePool.class, "KafkaTopic", KafkaTopic.class, "KafkaUser",
            KafkaUser.class);

    public static void main(String[] arguments) throws Exception {
        var mapper = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .setSerializationInclusion(JsonInclude.Include.NON_NULL)
            // The types keep unknown fields in a map, to carry them along; here they must fail.
            .setAnnotationIntrospector(new JacksonAnnotationIntrospector() {
                @Override
                public Boolean hasAnySetter(Annotated member) {
                    return false;
                }
            });
        for (JsonNode resource : mapper.readTree(new File(arguments[0]))) {
            var name = resource.at("/kind").asText() + "/" + resource.at("/metadata/name").asText();
            var kind = KINDS.get(resource.at("/kind").asText());
            if (kind == null) {
                System.out.println(name + ": no type is known for this kind");
                continue;
            }
            if (!resource.at("/apiVersion").asText().equals("kafka.strimzi.io/v1")) {
                System.out.println(name + ": is of another version than kafka.strimzi.io/v1");
            }
            try {
                JsonNode again = mapper.valueToTree(mapper.treeToValue(resource, kind));
                compare(name, "/spec", resource.at("/spec"), again.at("/spec"));
            } catch (com.fasterxml.jackson.core.JsonProcessingException error) {
                System.out.println(name + ": " + error.getOriginalMessage().split("\n")[0]);
            }
        }
    }

    static void compare(String name, String path, JsonNode wanted, JsonNode found) {
        if (wanted.isObject() && found.isObject()) {
            wanted.fields().forEachRemaining(
                field -> compare(name, path + "/" + field.getKey(), field.getValue(), found.path(field.getKey())));
        } else if (wanted.isArray() && found.isArray() && wanted.size() == found.size()) {
            for (int at = 0; at < wanted.size(); at++) {
                compare(name, path + "/" + at, wanted.get(at), found.get(at));
            }
        } else if (!wanted.asText().equals(found.asText()) || wanted.isContainerNode() != found.isContainerNode()) {
            System.out.println(name + ": " + path + ": " + wanted + " is not a value that the type has");
        }
    }
}
